// Views to choose from: tabs as the ARIA practices describe them. The arrows move and choose, Home and End go to the ends.

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mt-tabs";
  root.setAttribute("role", "tablist");
  root.setAttribute("aria-label", model.get("label"));
  root.dataset.lmSuppressShortcuts = "true";
  el.append(root);

  function choose(key) {
    model.set("value", key);
    model.save_changes();
  }

  function show() {
    for (const tab of root.children) {
      const chosen = tab.dataset.key === model.get("value");
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
  }

  for (const [text, key] of model.get("options")) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.textContent = text;
    tab.dataset.key = key;
    tab.setAttribute("role", "tab");
    tab.onclick = () => choose(key);
    root.append(tab);
  }
  root.onkeydown = (event) => {
    const tabs = [...root.children], at = tabs.indexOf(event.target), last = tabs.length - 1;
    const to = { ArrowLeft: at ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    tabs[to].focus();
    choose(tabs[to].dataset.key);
  };
  model.on("change:value", show);
  show();
  return () => model.off("change:value", show);
}

export default { render };
