// Plays a clip and asks one question. Nothing is loaded from anywhere: the sound comes with the widget's state.

const BUTTONS = { yes: ["Yes", "y"], no: ["No", "n"], unsure: ["Unsure", "u"], back: ["Back", "b"] };

function make(tag, parent, properties = {}, attributes = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

function render({ model, el }) {
  const root = make("div", el, { tabIndex: 0 }, { role: "group", "aria-label": "Questions", "data-lm-suppress-shortcuts": "true" });
  const question = make("p", root, {}, { "aria-live": "polite", style: "font-weight: bold" });
  const sound = make("audio", root, { controls: true, autoplay: true }, { style: "width: 100%; max-width: 32em" });
  const bar = make("p", root);
  const buttons = {};
  for (const [name, [text, key]] of Object.entries(BUTTONS)) {
    buttons[name] = make("button", bar, { textContent: `${text} (${key.toUpperCase()})`, type: "button" }, { style: "margin-right: .5em" });
    buttons[name].addEventListener("click", () => press(name));
  }
  const progress = make("output", bar);
  let url = "";

  function press(name) {
    if (buttons[name].disabled) return;
    for (const button of Object.values(buttons)) button.disabled = true; // until the next question is here
    model.send({ pressed: name });
  }

  function show() {
    const text = model.get("question");
    question.textContent = text || "All questions have been answered.";
    progress.textContent = model.get("progress");
    for (const name of Object.keys(buttons)) buttons[name].disabled = !text && name !== "back";
  }

  function play() {
    if (url) URL.revokeObjectURL(url);
    const data = model.get("sound");
    url = data.byteLength ? URL.createObjectURL(new Blob([data], { type: "audio/flac" })) : "";
    sound.hidden = !url;
    if (url) sound.src = url;
    else sound.removeAttribute("src");
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === sound) return;
    const name = Object.keys(BUTTONS).find((one) => BUTTONS[one][1] === event.key.toLowerCase());
    if (event.key === " " && event.target === root) {
      if (sound.paused) sound.play();
      else sound.pause();
    } else if (name) press(name);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  root.addEventListener("keydown", key);
  model.on("change:question change:progress", show);
  model.on("change:sound", play);
  show();
  play();
  return () => {
    root.removeEventListener("keydown", key);
    model.off("change:question change:progress", show);
    model.off("change:sound", play);
    if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
