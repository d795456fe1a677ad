// A file of the user's own, by button or dropped: its name and size are checked before anything is sent, in pieces.

const PIECE = 4 * 2 ** 20;

function render({ model, el }) {
  const root = document.createElement("label");
  root.className = "mt-upload";
  const input = Object.assign(document.createElement("input"), { type: "file", accept: model.get("suffixes").join(",") });
  const text = document.createElement("span");
  root.append(input, text);
  el.append(root);
  let sending = 0; // which file is sent; a later one takes the place of an earlier one

  function say() {
    const share = model.get("sent");
    text.textContent = share < 1 ? `Sending … ${Math.round(100 * share)} %` : "Your own file, or drop it here";
  }

  function refusal(file) {
    const name = file.name.toLowerCase(), megabytes = (size) => Math.round(size / 2 ** 20);
    if (!model.get("suffixes").some((suffix) => name.endsWith(suffix))) return `${file.name}: the explorer takes ${model.get("suffixes").join(", ")} files.`;
    if (file.size > model.get("most")) return `${file.name}: too large. It has ${megabytes(file.size)} MB, at most ${megabytes(model.get("most"))} MB are taken.`;
    return file.size ? "" : `${file.name}: the file is empty.`;
  }

  async function send(file) {
    if (!file) return;
    const mine = ++sending, refused = refusal(file);
    if (refused) return model.send({ kind: "refused", text: refused });
    model.send({ kind: "begin", name: file.name, size: file.size });
    for (let start = 0; start < file.size && mine === sending; start += PIECE) {
      let piece;
      try {
        piece = await file.slice(start, start + PIECE).arrayBuffer();
      } catch {
        return model.send({ kind: "refused", text: `${file.name}: the browser cannot read this file.` });
      }
      if (mine === sending) model.send({ kind: "piece" }, undefined, [piece]);
    }
  }

  input.onchange = () => {
    send(input.files[0]);
    input.value = ""; // the same file may be chosen again
  };
  root.ondragover = (event) => {
    event.preventDefault();
    root.classList.add("mt-drop");
  };
  root.ondragleave = () => root.classList.remove("mt-drop");
  root.ondrop = (event) => {
    event.preventDefault();
    root.classList.remove("mt-drop");
    send(event.dataTransfer.files[0]);
  };
  model.on("change:sent", say);
  say();
  model.send({ kind: "ready" });
  return () => model.off("change:sent", say);
}

export default { render };
