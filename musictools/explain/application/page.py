"""An explanation as a folder that works offline: a page, its pictures and sounds, and every number as JSON.

``index.html`` asks nothing of the network; pictures, sounds and ``explanation.json`` lie beside it and are linked
relatively.
"""

import html
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from musictools import audio, runs

__all__ = ["write"]

_PICTURE, _AXES = (11.0, 2.8), (0.07, 0.17, 1.0, 0.76)  # inches; left, bottom, width and height with the colour bar
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")  # Tol's bright ones
_STYLE = """
body { font: 16px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto;
       padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 }
h2 { margin-top: 2.5rem; border-bottom: 2px solid #357 }
section.tag { margin-top: 2.5rem }
a { color: #1a5a96 }
:focus-visible { outline: 3px solid #e0a000; outline-offset: 2px }
table { border-collapse: collapse; font-size: 14px }
th, td { border: 1px solid #ccd; padding: .25rem .6rem; text-align: left; white-space: nowrap }
th { background: #eef2f6 }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
.note { color: #555; font-size: 14px }
.good { color: #176b2c } .bad { color: #a40000 }
.badge { border-left: 4px solid #357; padding: .1rem .6rem; background: #eef2f6 }
.picture { position: relative; cursor: pointer; margin: .5rem 0 }
.picture img { width: 100%; display: block }
.picture i { position: absolute; width: 2px; background: #00d0ff; box-shadow: 0 0 2px #000; pointer-events: none }
.players { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem }
figure { margin: 0 }
.players figure { flex: 1 1 16rem }
.players audio, #song audio { width: 100% }
.votes { display: grid; grid-template-columns: max-content 1fr max-content; gap: .2rem .8rem; align-items: center }
.votes div { position: relative; height: 1.4rem; background: #f2f4f7 }
.votes div b { position: absolute; top: 0; bottom: 0; opacity: .75; border-left: 1px solid #fff }
.votes div.axis { background: none; font-size: 13px; color: #555 }
.votes div.axis span { position: absolute }
"""
_SCRIPT = """
"use strict";
for (const box of document.querySelectorAll("section.tag")) {
  const sounds = [...box.querySelectorAll("audio")], picture = box.querySelector(".picture");
  const head = picture.querySelector("i"), {left, width, end} = picture.dataset;
  let last = null;
  const show = (t) => { head.style.left = 100 * (+left + +width * Math.min(t / end, 1)) + "%"; };
  const follow = () => { if (last) { show(last.currentTime); if (!last.paused) requestAnimationFrame(follow); } };
  for (const sound of sounds) {
    sound.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
      if (last && last !== sound && !last.ended) sound.currentTime = last.currentTime;  // go on at the same place
      last = sound;
      follow();
    });
    sound.addEventListener("seeked", () => { if (!last || last === sound) show(sound.currentTime); });
  }
  picture.addEventListener("click", (event) => {
    const place = picture.getBoundingClientRect(), sound = last || sounds[0];
    const share = ((event.clientX - place.left) / place.width - left) / width;
    sound.currentTime = Math.max(0, Math.min(share, 1)) * end;
    show(sound.currentTime);
  });
  show(0);
}
document.querySelector("#song audio").addEventListener("play", () => {
  for (const other of document.querySelectorAll("section.tag audio")) other.pause();
});
"""


def write(folder, explanation, *, title, audio_format="flac", more=None):
    """Write an explanation as a page.

    Parameters
    ----------
    folder : str or Path
        Made when missing; files of the same names are replaced.
    explanation : SongExplanation
    title : str
    audio_format : {"flac", "wav", "mp3", "ogg"}
        Of the sounds. FLAC is exact, small, and quick to write.
    more : dict or None
        What else ``explanation.json`` is to tell, such as the file and the models; ``length``: s of the whole song.

    Returns
    -------
    index : Path
        ``folder/index.html``.

    Raises
    ------
    ValueError
        If the folder cannot be one, or the format is unknown.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, not a folder.")
    if audio_format not in ("flac", "wav", "mp3", "ogg"):
        raise ValueError(f"audio_format must be flac, wav, mp3 or ogg. Got {audio_format!r}.")
    files = {tag: {"heatmap": f"heatmap-{name}.png", "evidence": f"evidence-{name}.{audio_format}",
                   "rest": f"rest-{name}.{audio_format}"} for tag, name in _names(explanation.heatmaps).items()}
    song, found = f"song.{audio_format}", explanation.evidence
    sounds = {song: explanation.y} | {names["evidence"]: found[tag].sound for tag, names in files.items()} | {
        names["rest"]: found[tag].rest for tag, names in files.items()}
    with ThreadPoolExecutor(1) as pool:  # sounds are encoded while pictures are drawn
        written = pool.submit(_sounds, folder, sounds, explanation.front_end.sr)
        place = _pictures(folder, explanation, {tag: names["heatmap"] for tag, names in files.items()})
        gains = written.result()
    numbers = _numbers(explanation) | {"title": title, "song": song, "files": files, **(more or {}),
                                       "gain": {name: gain for name, gain in gains.items() if gain < 1}}
    with runs.atomic(folder / "explanation.json") as part:
        part.write_text(json.dumps(numbers, indent=1, ensure_ascii=False), encoding="utf-8")
    body = [f"<h1>{_text(title)}</h1>", _facts(explanation, (more or {}).get("length")),
            f"<div id='song'>{_player(song, 'The song')}</div>",
            _genre(explanation), _membership(explanation), _descriptors(explanation),
            *(_tag(explanation, tag, song, names, place) for tag, names in files.items())]
    page = (f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f"<meta name='viewport' content='width=device-width'><title>{_text(title)}</title>"
            f"<style>{_STYLE}</style></head><body>\n{chr(10).join(body)}\n<script>{_SCRIPT}</script></body></html>\n")
    with runs.atomic(folder / "index.html") as part:
        part.write_text(page, encoding="utf-8")
    return folder / "index.html"


def _names(tags):
    """A file name for every tag: letters, digits and hyphens, no name twice."""
    names = {}
    for tag in tags:
        name = base = re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-") or "tag"
        number = 2
        while name in names.values():
            name, number = f"{base}-{number}", number + 1
        names[tag] = name
    return names


def _sounds(folder, sounds, sr):
    """Write sounds, quieter where they would clip; return the factors."""
    gains = {name: min(1.0, 1 / max(float(np.abs(y).max()), 1e-9)) for name, y in sounds.items()}
    for name, y in sounds.items():
        audio.write(folder / name, np.clip(gains[name] * y, -1, 1), sr=sr)
    return gains


def _pictures(folder, explanation, files):
    """Draw the heatmaps; return the axes' place in all of them: left, bottom, width, height as shares."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    place = _AXES
    for tag, name in files.items():
        figure = Figure(figsize=_PICTURE)
        FigureCanvasAgg(figure)
        ax = explanation.plot(tag, ax=figure.add_axes(_AXES), title="")
        place = ax.get_position().bounds
        with runs.atomic(folder / name) as part:
            figure.savefig(part, dpi=110, pil_kwargs={"compress_level": 3})
    return place


def _numbers(explanation):
    """All numbers of an explanation, fit for JSON."""
    found = explanation
    return {
        "genre": found.genre, "method": found.method, "rule": found.rule, "duration": len(found.y) / found.front_end.sr,
        "heard": found.heard, "front_end": json.loads(found.front_end.to_json()), "seconds": _plain(found.seconds),
        "votes": _records(found.votes), "descriptors": _records(found.descriptors),
        "sections": _records(found.sections), "evidence": _records(found.loop),
        "relevance": {tag: {"sum": float(R.sum()), "positive": float(np.maximum(R, 0).sum())}
                      for tag, R in found.heatmaps.items()},
        "membership": None if found.membership is None else _plain(found.membership.to_dict()),
        "badges": dict(found.badges),
    }


def _records(table):
    return [_plain(row) for row in table.to_dict("records")]


def _plain(row):
    """A dict of JSON's own types; NaN becomes null."""
    values = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}


def _facts(explanation, length):
    found, sr = explanation, explanation.front_end.sr
    seconds = len(found.y) / sr
    part = "" if length is None or length - seconds < 0.05 else f"The first {seconds:.1f} s of {length:.1f} s"
    heard = "" if seconds - found.heard < 0.05 else f" The descriptor model heard the first {found.heard:.1f} s."
    return (f"<p class='note'>{part or f'{seconds:.1f} s'} at {sr:,} Hz; relevance by {_text(found.method)}; "
            f"thresholds by rule {_text(found.rule)}.{heard} "
            "All numbers: <a href='explanation.json'>explanation.json</a>.</p>")


def _genre(explanation):
    """The answer, and how the sections voted over time."""
    votes = explanation.votes
    if explanation.genre is None:
        return ""
    counts = votes["genre"].value_counts()
    names = [explanation.genre, *(g for g in counts.index if g != explanation.genre)]
    end, rows = float(votes["end"].max()), []
    for number, name in enumerate(names):
        mine = votes[votes["genre"] == name]
        bars = "".join(f"<b style='left:{100 * v.start / end:.2f}%;width:{100 * (v.end - v.start) / end:.2f}%;"
                       f"background:{_COLOURS[min(number, len(_COLOURS) - 1)]}' title='{v.start:.1f} to {v.end:.1f} s: "
                       f"{_text(name)} {v.score:.2f}'></b>" for v in mine.itertuples())
        rows.append(f"<span>{_text(name)}</span><div>{bars}</div><span>{counts[name]}</span>")
    step = next(s for s in (1, 2, 5, 10, 20, 60, 300, 1e9) if end / s <= 12)
    marks = "".join(f"<span style='left:{100 * t / end:.2f}%'>{t:g} s</span>" for t in np.arange(0, 0.96 * end, step))
    return (f"<h2>Genre: {_text(explanation.genre)}</h2>"
            f"<p>{counts[explanation.genre]} of {len(votes)} sections say {_text(explanation.genre)}.</p>"
            f"<div class='votes' aria-label='votes over time'>{''.join(rows)}<span></span>"
            f"<div class='axis'>{marks}</div><span></span></div>")


def _membership(explanation):
    if explanation.membership is None:
        return ""
    rows = "".join(f"<tr><td>{_text(genre)}</td><td class='n'>{share:.2f}</td></tr>"
                   for genre, share in explanation.membership.sort_values(ascending=False).items())
    return ("<h2>How the descriptors fit the genres</h2>"
            f"<table><thead><tr><th>genre</th><th>membership</th></tr></thead><tbody>{rows}</tbody></table>")


def _descriptors(explanation):
    """Those explained with what became of them; all others folded away."""
    chosen, table = list(explanation.heatmaps), explanation.descriptors.set_index("tag")
    loop, n = explanation.loop.set_index("tag"), len(explanation.sections)
    rows = []
    for tag in chosen:
        rows.append(f"<tr><td><a href='#{_anchor(tag)}'>{_text(tag)}</a></td>{_cells(table.loc[tag], n)}"
                    f"<td class='n'>{loop.loc[tag, 'evidence']:.2f}</td><td class='n'>{loop.loc[tag, 'rest']:.2f}</td>"
                    f"<td>{_verdict(loop.loc[tag])}</td></tr>")
    head = "<th>descriptor</th><th>score</th><th>threshold</th><th>sections</th>"
    first = (f"<div class='wide'><table><thead><tr>{head}<th>evidence alone</th><th>the rest</th><th></th></tr></thead>"
             f"<tbody>{''.join(rows)}</tbody></table></div>" if rows else "<p>None is predicted.</p>")
    others = "".join(f"<tr><td>{_text(tag)}</td>{_cells(row, n)}</tr>" for tag, row in table.iterrows()
                     if tag not in chosen)
    return (f"<h2>Descriptors</h2>{first}<details><summary>All other descriptors</summary><div class='wide'><table>"
            f"<thead><tr>{head}</tr></thead><tbody>{others}</tbody></table></div></details>")


def _cells(row, n):
    return (f"<td class='n'>{row['score']:.2f}</td><td class='n'>{row['threshold']:.2f}</td>"
            f"<td class='n'>{row['sections']} of {n}</td>")


def _verdict(row):
    """Whether the prediction stands and falls with the evidence, in words."""
    if not row["accepted"]:
        return "not predicted of the song: nothing to keep or lose"
    kept = ("<span class='good'>kept by the evidence alone</span>" if row["kept"]
            else "<span class='bad'>not kept by the evidence alone</span>")
    lost = ("<span class='good'>lost without it</span>" if row["lost"]
            else "<span class='bad'>not lost without it</span>")
    return f"{kept}, {lost}"


def _tag(explanation, tag, song, names, place):
    """A descriptor's picture, players and what became of its evidence."""
    found = explanation
    row, badge = found.loop.set_index("tag").loc[tag], found.badges.get(tag)
    left, bottom, width, height = place
    end = found.S.shape[1] * found.front_end.hop_length / found.front_end.sr
    gap = ("of the samples." if found.front_end.kind == "waveform" else
           f"of the cells; its own spectrogram is {row['gap']:.1f} dB from the masked one.")
    empty = "" if np.any(found.heatmaps[tag]) else "<p>No section of the song predicts it: there is no evidence.</p>"
    return f"""<section class='tag' id='{_anchor(tag)}'><h3>{_text(tag)}</h3>
{f"<p class='badge'>{_text(badge)}</p>" if badge else ""}{empty}
<div class='picture' data-left='{left:.5f}' data-width='{width:.5f}' data-end='{end:.5f}'>
<img src='{names["heatmap"]}' alt='Relevance of {_text(tag)} over the grey spectrogram of the song'>
<i style='top:{100 * (1 - bottom - height):.2f}%;height:{100 * height:.2f}%;left:{100 * left:.2f}%'></i></div>
<div class='players'>{_player(song, "song")}{_player(names["evidence"], "evidence")}{_player(names["rest"], "rest")}
</div><p>{_verdict(row)}: score {row["clip"]:.2f} of the song, {row["evidence"]:.2f} of the evidence, {row["rest"]:.2f}
of the rest; threshold {row["threshold"]:.2f}. The evidence holds {row["area"]:.0%} {gap}</p></section>"""


def _player(file, caption):
    return (f"<figure><figcaption>{caption}</figcaption><audio controls preload='metadata' src='{file}' "
            f"aria-label='{caption}'></audio></figure>")


def _anchor(tag):
    return _text("tag-" + re.sub(r"\s+", "-", tag))


def _text(value):
    return html.escape(str(value))
