// Concepts in five linked panels. Hovering is answered here; what is chosen is told to Python, which sends the details.
// Nothing is loaded from anywhere: pictures come with the widget's state, sounds when they are asked for.

const HEIGHT = 330, RADIUS = 5, NEAR = 16;
const AXES = ["acousticness", "danceability", "energy", "instrumentalness", "liveness", "speechiness", "tempo", "valence"];
const WORDS = {
  concept: "patches of spectrograms that the network treats alike",
  score: "what the network computes for a genre before it decides (the logit)",
  sensitivity: "by how much the genre's score grows along the direction of the concept, on average over songs",
  "TCAV score": "share of the genre's songs whose score grows along the direction of the concept",
  CAV: "the direction of a concept: it tells the concept's patches from random ones",
  q: "how often random patches do as much, corrected for the number of concepts; below 0.05 counts",
  AUC: "chance that a property is larger in a patch of the concept than in another patch of its genre; 0.5 tells nothing",
  artefact: "what is in the data but not in the music, such as silence, noise or one song repeated",
  estimated: "measured in the sound here; not the values of Echonest, which sharma2022 shows",
};

function make(tag, parent, properties = {}, attributes = {}) {
  return given(Object.assign(document.createElement(tag), properties), parent, attributes);
}

function draw(tag, parent, attributes = {}, text = "") {
  const element = document.createElementNS(NS, tag);
  if (text) element.textContent = text;
  return given(element, parent, attributes);
}

const drawing = document.createElement("template");
drawing.innerHTML = "<svg></svg>";
const NS = drawing.content.firstChild.namespaceURI;

function given(element, parent, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (parent) parent.append(element);
  return element;
}

// Offsets to the side so that dots do not overlap; where there is no room, they move down a little.
function swarm(heights, room) {
  const step = 2 * RADIUS + 1, most = Math.max(1, Math.floor(room / step)), placed = [];
  const order = [...heights.keys()].sort((a, b) => heights[a] - heights[b]);
  const places = [];
  for (const k of order) {
    for (let down = 0; !places[k]; down += step) {
      for (let n = 0; n < 2 * most + 1 && !places[k]; n++) {
        const x = step * (n % 2 ? -(n + 1) / 2 : n / 2), y = heights[k] + down;
        if (placed.every((other) => Math.hypot(other[0] - x, other[1] - y) >= step - 0.5)) {
          places[k] = [x, y];
          placed.push(places[k]);
        }
      }
    }
  }
  return places;
}

function render({ model, el }) {
  const root = make("div", el, { className: "mt-concepts" }, { role: "group", "aria-label": "Concepts", "data-lm-suppress-shortcuts": "true" });
  let value = "sensitivity", slot = 0, lit = -1, alive = true;

  // --- Sound ------------------------------------------------------------------------------------------------------

  const sound = make("audio", root, {}, { preload: "auto" });
  const known = new Map(), waiting = new Map(); // key -> address of the sound; key -> what is done when it comes
  let current = "", follower = () => {}, frame = 0;

  function ask(key, then) {
    if (known.has(key)) return then(known.get(key));
    waiting.set(key, then);
    const [kind, number] = key.split(":");
    model.send({ kind: "sound", what: kind, number: Number(number) });
  }

  function received(message, buffers) {
    if (message.kind !== "sound") return;
    const key = `${message.what}:${message.number}`, then = waiting.get(key);
    waiting.delete(key);
    said.textContent = message.error || "";
    if (message.error) return stop();
    known.set(key, URL.createObjectURL(new Blob([buffers[0]], { type: "audio/flac" })));
    if (then) then(known.get(key));
  }

  function follow() {
    cancelAnimationFrame(frame);
    if (!alive) return;
    follower(sound.currentTime, !sound.paused);
    if (!sound.paused) frame = requestAnimationFrame(follow);
  }

  function stop() {
    sound.pause();
    follow();
  }

  // Plays a sound from a time on; what plays already is stopped. `tell` gets the time and whether it plays.
  function play(key, tell, from = 0) {
    const before = follower;
    stop();
    before(-1, false);
    current = key;
    follower = tell;
    ask(key, (address) => {
      if (current !== key || !alive) return;
      if (sound.src !== address) sound.src = address;
      sound.currentTime = from;
      window.dispatchEvent(new CustomEvent("musictools-play", { detail: root }));
      sound.play().then(follow, follow);
    });
  }

  const silence = (event) => event.detail !== root && stop(); // another player of the page begins to play
  window.addEventListener("musictools-play", silence);
  for (const name of ["ended", "pause", "seeked"]) sound.addEventListener(name, follow);

  // --- What is above the panels -------------------------------------------------------------------------------------

  const intro = make("p", root);
  intro.append("A ", word("concept"), " is a group of patches of spectrograms that the network treats alike. Hover over a dot to see what is similar, click to see and hear its patches. With the keyboard: Tab to a dot, the arrows move, Enter chooses.");
  const bar = make("div", root, { className: "mt-bar" });
  const heights = buttons(bar, "Height of the dots", [["sensitivity", "sensitivity"], ["score", "TCAV score"]], () => value, (key) => {
    value = key;
    above();
  });
  const slots = buttons(bar, "A click chooses", [[0, "first concept"], [1, "second concept"]], () => slot, (key) => (slot = key));
  const label = make("label", bar, { textContent: "Concept " });
  const list = make("select", label);
  list.onchange = () => list.value && choose(Number(list.value));
  const drop = make("button", bar, { type: "button", textContent: "Show one concept only" });
  drop.onclick = () => model.send({ kind: "drop" });
  const said = make("p", root, { className: "mt-said" }, { role: "status" });

  function word(name, text) {
    return make("abbr", null, { textContent: text || name, title: WORDS[name] }, { tabindex: 0, "aria-label": `${text || name}: ${WORDS[name]}` });
  }

  function buttons(parent, name, options, chosen, act) {
    const group = make("div", parent, { className: "mt-group" }, { role: "group", "aria-label": name });
    make("span", group, { textContent: `${name}: ` });
    const all = options.map(([key, text]) => {
      const button = make("button", group, { type: "button", textContent: text });
      button.onclick = () => {
        act(key);
        press();
      };
      return [key, button];
    });
    const press = () => all.forEach(([key, button]) => button.setAttribute("aria-pressed", String(key === chosen())));
    press();
    return { group, press };
  }

  // --- Panels 1 and 2 -----------------------------------------------------------------------------------------------

  const upper = make("div", root, { className: "mt-upper" });
  const panels = [1, 2].map((number) => {
    const section = make("section", upper, { className: `mt-panel mt-panel-${number}` });
    const title = make("h3", section);
    const box = make("div", section, { className: "mt-plot" });
    const svg = draw("svg", box, { role: "group" });
    return { section, title, box, svg, dots: [], at: [] };
  });
  panels[0].svg.setAttribute("aria-label", "Concepts by genre");
  panels[1].svg.setAttribute("aria-label", "Map of the concepts' clusters");
  panels[0].title.append("1 · Concepts by genre");
  panels[1].title.append("2 · Clusters of similar concepts");
  const legend = make("div", root, { className: "mt-legend" });
  const tip = make("div", root, { className: "mt-tip", hidden: true }, { role: "status" });

  const points = () => model.get("points");
  const groups = () => model.get("groups");

  function above() {
    const width = upper.clientWidth;
    if (!width) return;
    root.classList.toggle("mt-narrow", width < 880);
    beeswarm();
    map();
    marks();
    light(lit, false);
  }

  function scale() {
    const values = points().map((one) => one[value]);
    const low = value === "score" ? 0 : Math.min(0, ...values), high = value === "score" ? 1 : Math.max(0, ...values);
    return [low, high > low ? high : low + 1];
  }

  function begin(panel) {
    const width = Math.max(panel.box.clientWidth, 200);
    panel.svg.replaceChildren();
    for (const [name, size] of [["width", width], ["height", HEIGHT], ["viewBox", `0 0 ${width} ${HEIGHT}`]]) panel.svg.setAttribute(name, size);
    panel.dots = [];
    panel.at = [];
    return width;
  }

  function beeswarm() {
    const panel = panels[0], width = begin(panel), left = 52, top = 14, bottom = HEIGHT - 50, names = groups();
    const slotWidth = (width - left - 4) / Math.max(names.length, 1), [low, high] = scale();
    const toY = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5].find((s) => (high - low) / s <= 6) || (high - low) / 4;
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) {
      const zero = Math.abs(v - (value === "score" ? 0.5 : 0)) < 1e-9;
      draw("line", panel.svg, { x1: left, x2: width, y1: toY(v), y2: toY(v), class: zero ? "mt-zero" : "mt-grid" });
      draw("text", panel.svg, { x: left - 6, y: toY(v) + 4, "text-anchor": "end" }, String(+v.toFixed(3)));
    }
    draw("text", panel.svg, { transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, value === "score" ? "TCAV score" : "sensitivity");
    const slanted = slotWidth < 66;
    names.forEach((group, g) => {
      const x = left + slotWidth * (g + 0.5);
      const attributes = { class: "mt-genre", "text-anchor": slanted ? "end" : "middle", transform: `translate(${x + (slanted ? 6 : 0)} ${bottom + 26})${slanted ? " rotate(-25)" : ""}` };
      const text = draw("text", panel.svg, attributes, group.name);
      text.onpointerenter = () => lightGroup(g);
      text.onpointerleave = () => light(-1);
      const own = [...points().keys()].filter((k) => points()[k].group === g && points()[k][value] !== null);
      const places = swarm(own.map((k) => toY(points()[k][value])), slotWidth / 2 - RADIUS);
      own.forEach((k, n) => dot(panel, k, x + places[n][0], places[n][1]));
    });
  }

  function map() {
    const panel = panels[1], width = begin(panel), inset = 18;
    const toX = (x) => inset + x * (width - 2 * inset), toY = (y) => HEIGHT - inset - y * (HEIGHT - 2 * inset);
    const lines = draw("g", panel.svg);
    panel.lines = points().map((one) => draw("line", lines, { x1: toX(one.cx), y1: toY(one.cy), x2: toX(one.x), y2: toY(one.y), class: "mt-link" }));
    for (const one of new Map(points().map((point) => [point.cluster, point])).values()) draw("path", panel.svg, { d: `M${toX(one.cx) - 4} ${toY(one.cy) - 4}l8 8m0 -8l-8 8`, class: "mt-centre" });
    points().forEach((one, k) => dot(panel, k, toX(one.x), toY(one.y)));
  }

  function dot(panel, k, x, y) {
    const one = points()[k], colour = groups()[one.group].colour, mark = draw("g", panel.svg, { class: "mt-dot", role: "button", tabindex: -1, "aria-label": `${one.name}. ${one.text.join(" ")}` });
    if (one.flagged) draw("rect", mark, { x: x - 8, y: y - 8, width: 16, height: 16, class: "mt-flag" });
    draw("circle", mark, { cx: x, cy: y, r: RADIUS, fill: one.sure ? colour : "#fff", stroke: colour, "stroke-width": one.sure ? 1 : 2 });
    mark.onfocus = () => light(k);
    mark.onblur = () => light(-1);
    mark.onkeydown = (event) => keys(event, panel, k);
    panel.dots[k] = mark;
    panel.at[k] = [x, y];
    if (!panel.dots.some((other) => other && other.tabIndex === 0)) mark.setAttribute("tabindex", 0);
  }

  function nearest(panel, event) {
    const box = panel.svg.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = NEAR;
    panel.at.forEach((at, k) => {
      const far = Math.hypot(at[0] - x, at[1] - y);
      if (far < least) [best, least] = [k, far];
    });
    return best;
  }

  for (const panel of panels) {
    panel.svg.onpointermove = (event) => event.target.classList.contains("mt-genre") || light(nearest(panel, event), true, panel);
    panel.svg.onpointerleave = () => light(-1);
    panel.svg.onclick = (event) => nearest(panel, event) >= 0 && choose(nearest(panel, event));
  }

  function keys(event, panel, k) {
    const way = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (event.key === "Enter" || event.key === " ") choose(k);
    else if (way) {
      let best = -1, least = Infinity;
      panel.at.forEach((at, other) => {
        const x = at[0] - panel.at[k][0], y = at[1] - panel.at[k][1], along = x * way[0] + y * way[1];
        const far = along + 2 * Math.abs(x * way[1] + y * way[0]);
        if (other !== k && along > 0.5 && far < least) [best, least] = [other, far];
      });
      if (best >= 0) {
        panel.dots[k].setAttribute("tabindex", -1);
        panel.dots[best].setAttribute("tabindex", 0);
        panel.dots[best].focus();
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Light up a concept, those that are similar, and its cluster.
  function light(k, tell = true, panel = panels[0]) {
    if (k === lit && tell) return;
    lit = k;
    const one = points()[k];
    root.classList.toggle("mt-lit", Boolean(one));
    const like = new Set(one ? one.like : []);
    points().forEach((other, n) => {
      const same = one && other.cluster === one.cluster;
      for (const each of panels) {
        const mark = each.dots[n];
        if (!mark) continue;
        mark.classList.toggle("mt-on", n === k);
        mark.classList.toggle("mt-like", like.has(n));
        mark.classList.toggle("mt-same", Boolean(same) && each === panels[1]);
      }
      panels[1].lines[n].classList.toggle("mt-same", Boolean(same));
    });
    tip.hidden = !one;
    if (!one) return;
    tip.replaceChildren();
    make("b", tip, { textContent: one.name });
    for (const line of one.text) make("div", tip, { textContent: line });
    const mark = panel.dots[k].getBoundingClientRect(), box = root.getBoundingClientRect();
    const width = Math.min(460, box.width - 16); // below the panel, so that no dot is covered
    tip.style.width = `${width}px`;
    tip.style.left = `${Math.max(0, Math.min(mark.left - box.left - width / 2, box.width - width))}px`;
    tip.style.top = `${panel.box.getBoundingClientRect().bottom - box.top + 4}px`;
  }

  function lightGroup(g) {
    root.classList.add("mt-lit");
    lit = -2;
    points().forEach((one, n) => panels.forEach((panel) => panel.dots[n] && panel.dots[n].classList.toggle("mt-on", one.group === g)));
  }

  function choose(k) {
    model.send({ kind: "choose", name: points()[k].name, slot });
    said.textContent = "";
    light(-1);
  }

  // Rings around what is chosen; solid for the first concept, dashed for the second.
  function marks() {
    for (const panel of panels) {
      for (const old of panel.svg.querySelectorAll(".mt-ring")) old.remove();
      model.get("chosen").forEach((name, s) => {
        const k = points().findIndex((one) => one.name === name);
        if (panel.at[k]) draw("circle", panel.svg, { cx: panel.at[k][0], cy: panel.at[k][1], r: 10, class: `mt-ring mt-ring-${s}` });
      });
    }
  }

  function words() {
    legend.replaceChildren();
    groups().forEach((group, g) => {
      const one = make("span", legend, { className: "mt-key" });
      make("i", one).style.background = group.colour;
      one.append(group.name);
      one.onpointerenter = () => lightGroup(g);
      one.onpointerleave = () => light(-1);
    });
    make("span", legend, { textContent: "● the genre's score depends on it (q < 0.05)   ○ it does not, as far as can be told   □ likely artefact   × centre of a cluster. In panel 2 only neighbourhoods mean anything." });
    const left = model.get("hidden");
    if (left) make("span", legend, { textContent: `${left} ${left > 1 ? "concepts have" : "concept has"} too few patches for a direction and ${left > 1 ? "are" : "is"} left out.` });
    list.replaceChildren(make("option", null, { value: "", textContent: "choose …" }));
    groups().forEach((group, g) => {
      const part = make("optgroup", list, { label: group.name });
      points().forEach((one, k) => one.group === g && make("option", part, { value: k, textContent: one.name }));
    });
  }

  // --- Panels 3 to 5 ------------------------------------------------------------------------------------------------

  const lower = make("div", root, { className: "mt-lower" });
  const more = make("details", root);
  make("summary", more, { textContent: "What the words mean" });
  const terms = make("dl", more);
  for (const [name, text] of Object.entries(WORDS)) {
    make("dt", terms, { textContent: name });
    make("dd", terms, { textContent: text });
  }
  let addresses = [];

  function image(bytes) {
    addresses.push(URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
    return addresses[addresses.length - 1];
  }

  function below() {
    const kept = model.get("details");
    for (const address of addresses) URL.revokeObjectURL(address);
    addresses = [];
    stop();
    lower.replaceChildren();
    lower.classList.toggle("mt-both", kept.length > 1);
    kept.forEach((one, s) => detail(one, s));
    if (!kept.length) make("p", lower, { className: "mt-note", textContent: "Panels 3 to 5 show the concept that you choose above: its patches, features of its songs, and where it is in a song." });
    drop.hidden = kept.length < 2;
    slots.group.hidden = !kept.length;
    if (!kept.length) slot = 0;
    slots.press();
    marks();
    features();
  }

  function detail(one, s) {
    const box = make("section", lower, { className: "mt-detail" }, { "aria-label": one.name, "data-slot": s });
    const title = make("h2", box, { textContent: one.name });
    make("span", title, { className: `mt-mark mt-mark-${s}` });
    const facts = make("div", box);
    for (const line of one.facts) make("p", facts, { textContent: line });
    make("h3", box, { textContent: `3 · ${one.patches.length} patches, nearest to the concept's centre` });
    const grid = make("div", box, { className: "mt-patches" });
    const pictures = new Map(one.pictures.map((each) => [each.song, image(each.data)]));
    for (const patch of one.patches) figure(grid, patch, pictures.get(patch.song), one);
    make("h3", box, { textContent: "4 · Features of its songs" });
    make("div", box, { className: "mt-radars" });
    within(box, one, s);
  }

  function outline(parent, patch, size, name) {
    return draw("path", parent, { d: patch.path, class: name, "vector-effect": "non-scaling-stroke" });
  }

  function cursorOf(stage) {
    const line = make("div", stage, { className: "mt-cursor", hidden: true });
    return (share) => {
      line.hidden = !(share >= 0 && share <= 1);
      line.style.left = `${100 * share}%`;
    };
  }

  function figure(grid, patch, address, one) {
    const box = make("figure", grid, {}, { "data-song": patch.song });
    const stage = make("div", box, { className: "mt-picture" });
    make("img", stage, { src: address, alt: `Spectrogram of ${patch.title}. The patch of ${one.name} lies at ${patch.where}.` });
    const svg = draw("svg", stage, { viewBox: `0 0 ${one.size[1]} ${one.size[0]}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    draw("path", svg, { d: `M0 0H${one.size[1]}V${one.size[0]}H0Z${patch.path}`, class: "mt-outside", "fill-rule": "evenodd" });
    outline(svg, patch, one.size, "mt-outline");
    const [left, low, width, height] = patch.box;
    draw("rect", svg, { x: left * one.size[1], y: (1 - low - height) * one.size[0], width: width * one.size[1], height: height * one.size[0], class: "mt-box", "vector-effect": "non-scaling-stroke" });
    const cursor = cursorOf(stage), caption = make("figcaption", box);
    make("div", caption, { className: "mt-cut", textContent: patch.title, title: patch.title });
    make("div", caption, { textContent: patch.where });
    const row = make("div", caption, { className: "mt-plays" });
    for (const [kind, number, from, to] of [["patch", patch.index, left, left + width], ["song", patch.song, 0, 1]]) {
      const name = kind === "patch" ? `Play only the patch of ${patch.title}` : `Play the excerpt of ${patch.title}`;
      const key = `${kind}:${number}`, button = make("button", row, { type: "button", textContent: `▶ ${kind}`, disabled: Boolean(one.silence), title: one.silence || name }, { "aria-label": name, "data-sound": key });
      const tell = (t, playing) => {
        button.textContent = `${playing ? "■" : "▶"} ${kind}`;
        cursor(playing && sound.duration ? from + (t / sound.duration) * (to - from) : -1);
      };
      button.onclick = () => (follower === tell && !sound.paused ? stop() : play(key, tell));
    }
  }

  function features() {
    const all = model.get("features");
    for (const box of lower.querySelectorAll(".mt-detail")) {
      const s = Number(box.dataset.slot), one = model.get("details")[s], place = box.querySelector(".mt-radars");
      if (!one) continue;
      place.replaceChildren();
      for (const song of one.songs) radar(place, box, song, all[song.song], one, s);
      const made = one.songs.map((song) => all[song.song]).filter((each) => each && each.source);
      if (made.some((each) => each.source === "estimated")) {
        const note = make("p", place, { className: "mt-note" });
        note.append("The values are ", word("estimated"), ". They order songs, and lie between 0 in the middle and 1 outside; for tempo these are 40 and 220 bpm. Click a chart to see concepts in its song.");
      }
    }
  }

  function radar(place, box, song, values, one, s) {
    const button = make("button", place, { type: "button", className: "mt-radar" }, { "data-song": song.song, "aria-pressed": String(song.song === one.song) });
    const width = 280, height = 158, radius = 50, svg = draw("svg", button, { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const at = (k, share) => {
      const angle = (2 * Math.PI * k) / AXES.length - Math.PI / 2;
      return [width / 2 + radius * share * Math.cos(angle), height / 2 + radius * share * Math.sin(angle)];
    };
    const ring = (shares) => shares.map((share, k) => at(k, share).map((v) => v.toFixed(1)).join(",")).join(" ");
    for (const share of [1 / 3, 2 / 3, 1]) draw("polygon", svg, { points: ring(AXES.map(() => share)), class: "mt-web" });
    AXES.forEach((name, k) => {
      const [x, y] = at(k, 1.14), [ex, ey] = at(k, 1);
      draw("line", svg, { x1: width / 2, y1: height / 2, x2: ex, y2: ey, class: "mt-web" });
      draw("text", svg, { x, y: y + 3.5, "text-anchor": Math.abs(x - width / 2) < 4 ? "middle" : x > width / 2 ? "start" : "end" }, name);
    });
    let said = one.silence || "is being measured …";
    if (values && values[AXES[0]] !== undefined) {
      draw("polygon", svg, { points: ring(AXES.map((name) => values[name])), class: "mt-blob" });
      said = `${values.source}, ${Math.round(values.tempo_bpm)} bpm`;
    } else if (values) said = values.source;
    make("div", button, { className: "mt-cut", textContent: song.title, title: song.title });
    make("div", button, { className: "mt-note", textContent: said });
    const numbers = values && values[AXES[0]] !== undefined ? AXES.map((name) => `${name} ${values[name].toFixed(2)}`).join(", ") : "";
    button.setAttribute("aria-label", `${song.title}, ${said}. ${numbers}. Show concepts within this song.`);
    if (numbers) button.title = numbers;
    const focus = (on) => {
      box.classList.toggle("mt-song-lit", on);
      for (const other of box.querySelectorAll("[data-song]")) other.classList.toggle("mt-on", on && other.dataset.song === String(song.song));
    };
    button.onpointerenter = button.onfocus = () => focus(true);
    button.onpointerleave = button.onblur = () => focus(false);
    button.onclick = () => model.send({ kind: "song", song: song.song, slot: s });
  }

  function within(box, one, s) {
    make("h3", box, { textContent: `5 · Concepts within ${one.title}` });
    const bar = make("div", box, { className: "mt-bar" });
    const button = make("button", bar, { type: "button", textContent: "Play", className: "mt-play", disabled: Boolean(one.silence), title: one.silence });
    const time = make("output", bar);
    const label = make("label", bar, { textContent: "Song " }), select = make("select", label);
    for (const each of one.choices) make("option", select, { value: each.song, textContent: each.title, selected: each.song === one.song });
    select.onchange = () => model.send({ kind: "song", song: Number(select.value), slot: s });
    const row = make("div", box, { className: "mt-within" });
    const scale = make("div", row, { className: "mt-scale" }, { "aria-hidden": "true" });
    for (const [share, text] of one.ticks) make("span", scale, { textContent: text }).style.bottom = `${100 * share}%`;
    const stage = make("div", row, { className: "mt-picture mt-wide-picture", tabIndex: 0 }, { role: "slider", "aria-valuemin": one.span[0].toFixed(1), "aria-valuemax": one.span[1].toFixed(1) });
    make("div", row);
    const times = make("div", row, { className: "mt-times" }, { "aria-hidden": "true" });
    make("img", stage, { src: image(one.stitched), alt: "" });
    const svg = draw("svg", stage, { viewBox: `0 0 ${one.size[1]} ${one.size[0]}`, preserveAspectRatio: "none" });
    for (const each of one.within) {
      const k = points().findIndex((point) => point.name === each.name);
      const path = outline(svg, each, one.size, `mt-outline ${each.raises ? "mt-raises" : "mt-lowers"}${each.chosen ? " mt-chosen" : ""}`);
      const tag = make("button", stage, { type: "button", className: `mt-tag${each.chosen ? " mt-chosen" : ""}`, textContent: `${each.raises ? "↑" : "↓"} ${each.name}`, title: `${each.name}: see it above` });
      tag.style.left = `${100 * Math.min(Math.max(each.x, 0.07), 0.93)}%`;
      tag.style.bottom = `${100 * Math.min(Math.max(each.y, 0.06), 0.94)}%`;
      for (const target of [path, tag]) {
        target.onpointerenter = () => light(k);
        target.onpointerleave = () => light(-1);
      }
      tag.onfocus = () => light(k);
      tag.onblur = () => light(-1);
      tag.onclick = (event) => {
        event.stopPropagation();
        if (k >= 0) choose(k);
      };
    }
    const [start, end] = one.span, cursor = cursorOf(stage), key = `song:${one.song}`;
    let at = 0;
    const tell = (t, playing) => {
      if (t >= 0) at = t >= (sound.duration || end - start) - 0.02 ? 0 : t;
      button.textContent = playing ? "Pause" : "Play";
      cursor(at / (end - start));
      time.textContent = `${(start + at).toFixed(1)} s`;
      stage.setAttribute("aria-valuenow", (start + at).toFixed(1));
      stage.setAttribute("aria-valuetext", `${(start + at).toFixed(1)} seconds`);
    };
    const go = (t) => {
      if (one.silence) return;
      at = Math.max(0, Math.min(t, end - start - 0.05));
      follower === tell && !sound.paused ? (sound.currentTime = at) : play(key, tell, at);
    };
    const toggle = () => (follower === tell && !sound.paused ? stop() : go(at));
    button.onclick = toggle;
    stage.onclick = (event) => {
      const place = stage.getBoundingClientRect();
      go(((event.clientX - place.left) / place.width) * (end - start));
    };
    stage.onkeydown = (event) => {
      const act = { ArrowLeft: () => go(at - 0.5), ArrowRight: () => go(at + 0.5), Home: () => go(0), " ": toggle }[event.key];
      if (!act || event.target !== stage) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    };
    for (let second = Math.ceil(start); second <= end; second++) {
      const share = (second - start) / (end - start);
      if (share > 0.02 && share < 0.98) make("span", times, { textContent: `${second} s` }).style.left = `${100 * share}%`;
    }
    tell(0, false);
    apart(stage);
    const mine = one.within.filter((each) => each.chosen).length;
    stage.setAttribute("aria-label", `Position in ${one.title}, over its spectrogram with ${one.within.map((each) => each.name).join(", ") || "no concept"}`);
    make("p", box, { className: "mt-note", textContent: `${mine ? "" : `${one.name} is not in this song. `}In colour: ${one.name} (thick line) and the concepts that the score of the genre depends on most. ↑ raises the score (solid line), ↓ lowers it (dashed line). Grey: none of them. Click to listen from there; a label leads to its concept.` });
  }

  // Labels that would lie on each other move down.
  function apart(stage) {
    const placed = [];
    for (const tag of stage.querySelectorAll(".mt-tag")) {
      const overlaps = () => placed.some((other) => {
        const a = tag.getBoundingClientRect(), b = other.getBoundingClientRect();
        return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      });
      const from = parseFloat(tag.style.bottom);
      for (let n = 1; n < 12 && overlaps(); n++) tag.style.bottom = `${Math.min(94, Math.max(6, from + 8 * (n % 2 ? -(n + 1) / 2 : n / 2)))}%`;
      placed.push(tag);
    }
  }

  // --- State --------------------------------------------------------------------------------------------------------

  const listeners = { "change:points": () => (words(), above()), "change:details": below, "change:features": features, "change:chosen": marks, "msg:custom": received };
  for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);
  const resized = new ResizeObserver(above);
  resized.observe(upper);
  words();
  above();
  below();
  heights.press();
  return () => {
    alive = false;
    cancelAnimationFrame(frame);
    sound.pause();
    resized.disconnect();
    window.removeEventListener("musictools-play", silence);
    for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
    for (const address of [...known.values(), ...addresses]) URL.revokeObjectURL(address);
  };
}

export default { render };
