// The song: votes, spectrogram with heatmaps, and taggram on one time axis, with a cursor that follows the sound.
// Nothing is loaded from anywhere: pictures and sounds come with the widget's state.

const MAGMA = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const ROW = 18, AXIS = 22, GAP = 6, UNHEARD = "#e4e4e4";

function magma(share) {
  const place = Math.max(0, Math.min(share, 1)) * (MAGMA.length - 1), k = Math.min(Math.floor(place), MAGMA.length - 2);
  return `rgb(${MAGMA[k].map((c, i) => Math.round(c + (place - k) * (MAGMA[k + 1][i] - c))).join(",")})`;
}

function clock(seconds) {
  const rest = (seconds % 60).toFixed(1);
  return `${Math.floor(seconds / 60)}:${rest.padStart(4, "0")}`;
}

function make(tag, parent, properties = {}, attributes = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (parent) parent.append(element);
  return element;
}

function render({ model, el }) {
  const root = make("div", el, { className: "mt-player" }, { role: "group", "aria-label": "Player", "data-lm-suppress-shortcuts": "true" });
  const bar = make("div", root, { className: "mt-bar" });
  const play = make("button", bar, { textContent: "Play", className: "mt-play" });
  const time = make("output", bar, { className: "mt-time" });
  const sources = make("div", bar, { className: "mt-sources" }, { role: "group", "aria-label": "Listen to" });
  const zooms = make("div", bar, { className: "mt-zooms" }, { role: "group", "aria-label": "Time axis" });
  const legend = make("div", root, { className: "mt-legend" });
  const stage = make("div", root, { className: "mt-stage" });
  const base = make("canvas", stage, {}, { "aria-hidden": "true" });
  const over = make("canvas", stage, { tabIndex: 0, className: "mt-over" }, { role: "slider", "aria-valuemin": "0" });
  const scroll = make("input", root, { type: "range", className: "mt-scroll" }, { "aria-label": "Part of the song that is shown", min: 0, step: 0.1 });
  make("p", root, { className: "mt-help", textContent: "Click to go there, drag to repeat a part. Space plays, the arrows move by 2 s, + and − zoom, Escape ends the repetition." });

  const sounds = new Map(); // key -> audio element
  const pictures = new Map(); // what they show -> ImageBitmap
  let current = "song", view = [0, 1], loop = [], drag = null, frame = 0, sent = 0, alive = true;

  const duration = () => Math.max(model.get("duration"), 0.01);
  const whole = () => Math.max(duration(), model.get("span")); // seconds of the time axis when it is not zoomed
  const height = () => model.get("height");
  const edgesOf = (row) => (Array.isArray(model.get("taggram").edges[row]) ? model.get("taggram").edges[row] : model.get("taggram").edges);
  // Where the last sections end: at the end of the song there may be too little for another one.
  const voted = () => Math.max(...model.get("votes").map((vote) => vote.end));
  const ends = () => [...(model.get("votes").length ? [voted()] : []), ...rows().map((_, row) => edgesOf(row)[edgesOf(row).length - 1]).filter(Number.isFinite)];
  const audio = () => sounds.get(current);
  const now = () => (audio() ? audio().currentTime : 0);
  const left = () => (stage.clientWidth < 600 ? 84 : 130);
  const width = () => Math.max(stage.clientWidth - left() - 8, 50);
  const toX = (t) => left() + ((t - view[0]) / (view[1] - view[0])) * width();
  const toT = (x) => Math.max(0, Math.min(view[0] + ((x - left()) / width()) * (view[1] - view[0]), duration()));
  const rows = () => model.get("taggram").tags || [];
  const tops = () => {
    const votes = model.get("votes").length ? ROW + GAP : 0;
    return { votes: 0, picture: votes, axis: votes + height(), taggram: votes + height() + AXIS, end: votes + height() + AXIS + ROW * rows().length + 4 };
  };

  // --- Drawing ----------------------------------------------------------------------------------------------------

  function fit(canvas, height) {
    const ratio = window.devicePixelRatio || 1;
    const w = Math.round(stage.clientWidth * ratio), h = Math.round(height * ratio);
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
    }
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, stage.clientWidth, height);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    return context;
  }

  function clipped(context, top, height, paint) {
    context.save();
    context.beginPath();
    context.rect(left(), top, width(), height);
    context.clip();
    paint();
    context.restore();
  }

  function label(context, text, y) {
    context.fillStyle = "#222";
    context.textAlign = "right";
    let shown = text;
    while (shown.length > 1 && context.measureText(shown).width > left() - 10) shown = shown.slice(0, -2) + "…";
    context.fillText(shown, left() - 6, y);
  }

  function heading(context, text, y) {
    context.save();
    context.fillStyle = "#222";
    context.font = "bold 12px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText(text, left() + 5, y);
    context.restore();
  }

  function draw() {
    if (!stage.clientWidth) return;
    const place = tops(), context = fit(base, place.end);
    if (place.picture) {
      label(context, "genre", place.votes + ROW / 2);
      clipped(context, place.votes, ROW, () => {
        for (const vote of model.get("votes")) {
          const from = toX(vote.start), to = toX(vote.end);
          context.fillStyle = vote.colour;
          context.fillRect(from, place.votes, to - from - 1, ROW);
        }
        unheard(context, voted(), place.votes, ROW);
      });
    }
    clipped(context, place.picture, height(), () => {
      context.fillStyle = "#000";
      context.fillRect(toX(0), place.picture, toX(duration()) - toX(0), height());
      context.imageSmoothingEnabled = false;
      for (const picture of [pictures.get("spectrogram"), ...model.get("layers").map((layer) => pictures.get(layer.tag))]) {
        if (picture) context.drawImage(picture, toX(0), place.picture, toX(duration()) - toX(0), height());
      }
    });
    for (const [share, text] of model.get("ticks")) label(context, text, place.picture + height() * (1 - share));
    axis(context, place.axis);
    const { tags = [], scores = [], predicted = [] } = model.get("taggram");
    tags.forEach((tag, row) => {
      const top = place.taggram + row * ROW, own = edgesOf(row);
      if (!scores[row].length) return heading(context, tag, top + ROW / 2);
      label(context, (predicted[row] ? "● " : "") + tag, top + ROW / 2);
      clipped(context, top, ROW, () => {
        scores[row].forEach((score, k) => {
          context.fillStyle = score === null ? "#ddd" : magma(score); // null: the network does not know the tag
          context.fillRect(toX(own[k]), top + 1, toX(own[k + 1]) - toX(own[k]) + 0.5, ROW - 2);
        });
        unheard(context, own[own.length - 1], top + 1, ROW - 2);
      });
    });
    cursor();
  }

  function unheard(context, end, top, height) {
    context.fillStyle = UNHEARD;
    if (end < duration()) context.fillRect(toX(end), top, toX(duration()) - toX(end), height);
  }

  function axis(context, top) {
    const span = view[1] - view[0];
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300].find((s) => (s / span) * width() > 55) || 600;
    context.fillStyle = "#222";
    context.textAlign = "center";
    for (let t = Math.ceil(view[0] / step) * step; t <= view[1] + 1e-6; t += step) {
      const x = toX(t);
      context.fillRect(x, top, 1, 4);
      if (x > left() - 1 && x < left() + width() - 8) context.fillText(step < 1 ? `${t.toFixed(1)} s` : `${Math.round(t)} s`, x, top + 12);
    }
  }

  function cursor() {
    const place = tops(), context = fit(over, place.end), x = toX(now());
    const part = drag && drag.moved ? [drag.from, drag.to].sort((a, b) => a - b) : loop;
    clipped(context, 0, place.end, () => {
      if (part.length) {
        context.fillStyle = "rgba(255,255,255,.25)";
        context.fillRect(toX(part[0]), 0, toX(part[1]) - toX(part[0]), place.end);
        context.fillStyle = "#fff";
        for (const t of part) context.fillRect(toX(t) - 1, place.picture, 2, height());
      }
      context.fillStyle = "#000";
      context.fillRect(x - 2, 0, 4, place.end);
      context.fillStyle = "#fff";
      context.fillRect(x - 1, 0, 2, place.end);
    });
    time.textContent = `${clock(now())} of ${clock(duration())}`;
    over.setAttribute("aria-valuemax", duration().toFixed(1));
    over.setAttribute("aria-valuenow", now().toFixed(1));
    over.setAttribute("aria-valuetext", `${now().toFixed(1)} seconds${loop.length ? `, repeating ${loop[0].toFixed(1)} to ${loop[1].toFixed(1)}` : ""}`);
  }

  // --- Sound ------------------------------------------------------------------------------------------------------

  function report(force) {
    const at = performance.now();
    if (!force && at - sent < 250) return;
    sent = at;
    model.set({ position: now(), playing: Boolean(audio() && !audio().paused), source: current, loop: [...loop] });
    model.save_changes();
  }

  function follow() {
    cancelAnimationFrame(frame);
    if (!alive) return;
    const sound = audio(), playing = sound && !sound.paused;
    if (playing && loop.length && (sound.currentTime >= loop[1] || sound.currentTime < loop[0] - 0.3)) sound.currentTime = loop[0];
    if (playing && (now() > view[1] || now() < view[0])) show(now(), view[1] - view[0]);
    cursor();
    play.textContent = playing ? "Pause" : "Play";
    report(!playing);
    if (playing) frame = requestAnimationFrame(follow);
  }

  function seek(t) {
    if (!audio()) return;
    audio().currentTime = Math.max(0, Math.min(t, duration() - 0.05));
    if (t < view[0] || t > view[1]) show(t, view[1] - view[0]);
    follow();
  }

  function toggle() {
    const sound = audio();
    if (!sound) return;
    if (sound.paused) {
      window.dispatchEvent(new CustomEvent("musictools-play", { detail: root }));
      sound.play().then(follow, () => follow());
    } else sound.pause();
    follow();
  }

  function silence(event) { // another player of the page begins to play
    if (event.detail !== root && audio()) audio().pause();
  }
  window.addEventListener("musictools-play", silence);

  function listen(key) {
    if (!sounds.has(key) || key === current) return buttons();
    const before = audio(), after = sounds.get(key), at = before ? before.currentTime : 0;
    const playing = before && !before.paused;
    if (before) before.pause();
    current = key;
    after.currentTime = at; // goes on at the same place
    if (playing) after.play().then(follow, () => follow());
    buttons();
    follow();
  }

  function load(key, bytes) {
    const old = sounds.get(key), url = URL.createObjectURL(new Blob([bytes], { type: "audio/flac" }));
    const sound = make("audio", null, { src: url, preload: "auto" });
    for (const name of ["ended", "pause", "seeked"]) sound.addEventListener(name, () => sound === audio() && follow());
    if (old) {
      sound.currentTime = old.currentTime;
      drop(key);
    }
    sounds.set(key, sound);
  }

  function drop(key) {
    const sound = sounds.get(key);
    sound.pause();
    URL.revokeObjectURL(sound.src);
    sounds.delete(key);
  }

  function newSong() {
    for (const key of [...sounds.keys()]) drop(key);
    current = "song";
    loop = [];
    view = [0, whole()];
    if (model.get("song").byteLength) load("song", model.get("song"));
    newSounds();
  }

  function newSounds() {
    const given = model.get("sounds"), keys = new Set(["song", ...given.map((one) => one.key)]);
    if (!keys.has(current)) listen("song");
    for (const key of [...sounds.keys()]) if (!keys.has(key)) drop(key);
    for (const one of given) {
      const old = sounds.get(one.key);
      if (old && old.version === one.version) continue;
      const playing = one.key === current && old && !old.paused;
      load(one.key, one.data);
      sounds.get(one.key).version = one.version;
      if (playing) sounds.get(one.key).play().then(follow, () => follow());
    }
    buttons();
    follow();
  }

  function buttons() {
    sources.replaceChildren();
    make("span", sources, { textContent: "Listen to:" });
    for (const one of [{ key: "song", label: "song" }, ...model.get("sounds")]) {
      const button = make("button", sources, { textContent: one.label }, { "aria-pressed": String(one.key === current), "data-key": one.key });
      button.onclick = () => listen(one.key);
    }
    play.disabled = !audio();
  }

  // --- Zoom -------------------------------------------------------------------------------------------------------

  function show(centre, span) {
    span = Math.max(0.5, Math.min(span, whole()));
    const start = Math.max(0, Math.min(centre - span / 2, whole() - span));
    setView([start, start + span]);
    if (String(view) !== String(model.get("window"))) {
      model.set("window", view); // players that are linked show the same part
      model.save_changes();
    }
  }

  function setView(part) {
    view = part;
    scroll.max = whole() - (view[1] - view[0]);
    scroll.value = view[0];
    scroll.style.visibility = view[1] - view[0] < whole() - 0.01 ? "visible" : "hidden";
    draw();
  }

  const zoom = (factor) => show(now(), (view[1] - view[0]) * factor);
  for (const [text, name, act] of [["−", "Zoom out", () => zoom(2)], ["+", "Zoom in", () => zoom(0.5)], ["whole song", "Show the whole song", () => show(0, whole())]])
    make("button", zooms, { textContent: text, onclick: act }, { "aria-label": name });
  scroll.oninput = () => show(+scroll.value + (view[1] - view[0]) / 2, view[1] - view[0]);

  // --- Mouse and keyboard -----------------------------------------------------------------------------------------

  over.onpointerdown = (event) => {
    if (event.button) return;
    over.setPointerCapture(event.pointerId);
    const t = toT(event.offsetX);
    drag = { x: event.offsetX, from: t, to: t, moved: false };
  };
  over.onpointermove = (event) => {
    if (!drag) return;
    drag.to = toT(event.offsetX);
    drag.moved ||= Math.abs(event.offsetX - drag.x) > 5;
    cursor();
  };
  over.onpointerup = () => {
    if (!drag) return;
    const { from, to, moved } = drag;
    drag = null;
    loop = moved && Math.abs(to - from) > 0.1 ? [Math.min(from, to), Math.max(from, to)] : [];
    seek(loop.length ? loop[0] : from);
    report(true);
  };
  over.onpointercancel = () => (drag = null);
  root.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "range") return;
    const actions = {
      ArrowLeft: () => seek(now() - 2),
      ArrowRight: () => seek(now() + 2),
      Home: () => seek(0),
      End: () => seek(duration()),
      Escape: () => ((loop = []), follow()),
      "+": () => zoom(0.5),
      "-": () => zoom(2),
      " ": event.target.tagName === "BUTTON" ? null : toggle,
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  };
  play.onclick = toggle;

  // --- State ------------------------------------------------------------------------------------------------------

  async function picture(key, bytes) {
    const made = bytes && bytes.byteLength ? await createImageBitmap(new Blob([bytes], { type: "image/png" })) : null;
    if (!alive) return;
    made ? pictures.set(key, made) : pictures.delete(key);
    draw();
  }

  function layers() {
    const shown = model.get("layers");
    legend.replaceChildren();
    for (const vote of new Map(model.get("votes").map((one) => [one.genre, one])).values()) entry(vote.colour, vote.genre);
    for (const layer of shown) {
      entry(layer.colour, layer.label || `where the tagger finds ${layer.tag}`);
      picture(layer.tag, layer.data);
    }
    if (Math.min(...ends()) < duration() - 0.05) entry(UNHEARD, "at the end: too short for another section");
    if (rows().length) {
      const one = make("span", legend);
      one.append("below, scores over time: 0 ");
      make("i", one, { className: "mt-shades" }).style.background = `linear-gradient(90deg, ${[...Array(9).keys()].map((k) => magma(k / 8))})`;
      one.append("1; ● predicted");
    }
    over.setAttribute("aria-label", model.get("alt"));
    draw();
  }

  function entry(colour, text) {
    const one = make("span", legend);
    make("i", one).style.background = colour;
    one.append(text);
  }

  const listeners = {
    "change:song": newSong,
    "change:sounds": newSounds,
    "change:spectrogram": () => picture("spectrogram", model.get("spectrogram")),
    "change:layers": layers,
    "change:votes": layers,
    "change:taggram": layers,
    "change:alt": layers,
    "change:duration": () => (layers(), show(0, whole())),
    "change:span": () => show(0, whole()),
    "change:height": draw,
    "change:window": () => model.get("window").length === 2 && setView([...model.get("window")]),
  };
  for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);
  const resized = new ResizeObserver(draw);
  resized.observe(stage);
  newSong();
  layers();
  show(0, whole());
  picture("spectrogram", model.get("spectrogram"));
  return () => {
    alive = false;
    cancelAnimationFrame(frame);
    resized.disconnect();
    window.removeEventListener("musictools-play", silence);
    for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
    for (const key of [...sounds.keys()]) drop(key);
  };
}

export default { render };
