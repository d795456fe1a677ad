"""An explanation as a folder that works offline: a page, its pictures and sounds, and every number as JSON.

``index.html`` loads nothing from the network. Pictures, sounds and ``explanation.json`` lie beside it and are linked
relatively.
"""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musictools import audio, html
from musictools.files import atomic
from musictools.runs import manifests

if TYPE_CHECKING:
    from musictools.explain.application.system import SongExplanation

__all__ = ["write"]

_SPECTROGRAM = "spectrogram.png"  # below all heatmaps
_PICTURE, _AXES = (11.0, 2.8), (0.07, 0.17, 0.92, 0.79)  # inches; left, bottom, width and height as shares
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")  # Tol's bright ones


def write(
    folder: str | Path,
    explanation: SongExplanation,
    *,
    title: str,
    audio_format: str = "flac",
    more: dict[str, Any] | None = None,
) -> Path:
    """Write an explanation as a page.

    Parameters
    ----------
    folder : str or Path
        Created if it is missing. Files of the same names are replaced.
    explanation : SongExplanation
    title : str
        Heading of the page.
    audio_format : {"flac", "wav", "mp3", "ogg"}
        Format of the sounds. FLAC is exact, small, and quick to write.
    more : dict or None
        Further entries of ``explanation.json``, such as the file and the models. ``length`` is the duration of the
        whole song in s; it is shown if only the first part was explained.

    Returns
    -------
    index : Path
        ``folder/index.html``.

    Raises
    ------
    ValueError
        If the folder is a file, or the format is unknown.

    Examples
    --------
    >>> explanation = system.explain(y, sr=sr)  # doctest: +SKIP
    >>> write("out", explanation, title="My song")  # doctest: +SKIP
    PosixPath('out/index.html')
    """
    folder, more = Path(folder), more or {}
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, not a folder.")
    if audio_format not in ("flac", "wav", "mp3", "ogg"):
        raise ValueError(f"audio_format must be flac, wav, mp3 or ogg. Got {audio_format!r}.")
    names = html.anchors(explanation.heatmaps)
    files = {
        tag: {
            "heatmap": f"heatmap-{name}.png",
            "evidence": f"evidence-{name}.{audio_format}",
            "rest": f"rest-{name}.{audio_format}",
        }
        for tag, name in names.items()
    }
    song, sounds = f"song.{audio_format}", {f"song.{audio_format}": explanation.y}
    for tag, own in files.items():
        sounds |= {own["evidence"]: explanation.evidence[tag].sound, own["rest"]: explanation.evidence[tag].rest}
    with ThreadPoolExecutor(1) as pool:  # sounds are encoded while pictures are drawn
        written = pool.submit(_sounds, folder, sounds, explanation.front_end.sr)
        legends = _pictures(folder, explanation, {tag: own["heatmap"] for tag, own in files.items()})
        gains = written.result()
    manifests.write_json(
        folder / "explanation.json",
        _numbers(explanation)
        | {
            "title": title,
            "song": song,
            "files": files,
            **more,
            "gain": {name: gain for name, gain in gains.items() if gain < 1},
        },
    )
    chosen = [
        _descriptor(explanation, tag) | {"anchor": f"tag-{names[tag]}", "files": files[tag], "legend": legends[tag]}
        for tag in files
    ]
    others = explanation.descriptors[~explanation.descriptors["tag"].isin(files)].to_dict("records")
    return html.write(
        folder / "index.html",
        "explanation.html.jinja",
        title=title,
        song=song,
        place=_AXES,
        spectrogram=_SPECTROGRAM,
        end=explanation.S.shape[1] * explanation.front_end.frame_seconds,
        explanation=explanation,
        seconds=len(explanation.y) / explanation.front_end.sr,
        length=more.get("length"),
        genres=_votes(explanation),
        n_sections=len(explanation.sections),
        chosen=chosen,
        others=others,
    )


def _sounds(folder, sounds, sr):
    """Write sounds, quieter where they would clip; return the factors."""
    gains = {name: min(1.0, 1 / max(float(np.abs(y).max()), 1e-9)) for name, y in sounds.items()}
    for name, y in sounds.items():
        audio.write(folder / name, np.clip(gains[name] * y, -1, 1), sr=sr)
    return gains


def _pictures(folder, explanation, files):
    """Draw the spectrogram once, and every heatmap as a transparent picture of its cells that is laid over it.

    Returns the legend of every heatmap: its ends, and the colours between them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    from musictools import plots

    if not files:
        return {}
    figure, legends = Figure(figsize=_PICTURE), {}
    FigureCanvasAgg(figure)
    ax = figure.add_axes(_AXES)
    for tag, name in files.items():
        before = set(ax.get_children())
        S = None if legends else explanation.S  # drawn below the first heatmap only
        plots.heatmap(explanation.heatmaps[tag], S=S, front_end=explanation.front_end, ax=ax, colorbar=False)
        drawn = [artist for artist in ax.get_children() if artist not in before]
        heatmap = max((artist for artist in drawn if artist in ax.images), key=lambda image: image.zorder)
        heatmap.set_visible(False)
        if not legends:
            with atomic(folder / _SPECTROGRAM) as temporary:
                figure.savefig(temporary, dpi=110, pil_kwargs={"compress_level": 3})
        for artist in drawn:
            artist.remove()
        colours = heatmap.cmap(np.arange(256), bytes=True)
        cells = Image.fromarray(np.clip(256 * heatmap.norm(heatmap.get_array())[::-1], 0, 255).astype(np.uint8))
        cells.putpalette(colours[:, :3].tobytes())
        with atomic(folder / name) as temporary:
            cells.save(temporary, format="png", transparency=colours[:, 3].tobytes(), compress_level=3)
        low, high = heatmap.get_clim()
        stops = ["rgba({},{},{},{:.2f})".format(*colour[:3], colour[3] / 255) for colour in colours[::15]]
        legends[tag] = {"low": f"{low:.3g}", "high": f"{high:.3g}", "colours": stops}
    return legends


def _numbers(explanation):
    """All numbers of an explanation."""
    tables = {
        "votes": explanation.votes,
        "descriptors": explanation.descriptors,
        "sections": explanation.sections,
        "evidence": explanation.loop,
    }
    membership = explanation.membership
    return {
        "genre": explanation.genre,
        "method": explanation.method,
        "rule": explanation.rule,
        "duration": len(explanation.y) / explanation.front_end.sr,
        "heard": explanation.heard,
        "front_end": json.loads(explanation.front_end.to_json()),
        "seconds": explanation.seconds,
        **{name: table.to_dict("records") for name, table in tables.items()},
        "relevance": {
            tag: {"sum": float(R.sum()), "positive": float(np.maximum(R, 0).sum())}
            for tag, R in explanation.heatmaps.items()
        },
        "membership": None if membership is None else membership.to_dict(),
        "badges": explanation.badges,
        "networks": explanation.networks,
        "familiarity": explanation.familiarity and dataclasses.asdict(explanation.familiarity),
    }


def _votes(explanation):
    """Colour and votes of every genre that sections vote for, the song's own first."""
    votes = explanation.votes
    if explanation.genre is None:
        return []
    names = [explanation.genre, *votes["genre"].value_counts().index.drop(explanation.genre)]
    return [
        {
            "name": name,
            "colour": _COLOURS[min(number, len(_COLOURS) - 1)],
            "votes": votes[votes["genre"] == name].to_dict("records"),
        }
        for number, name in enumerate(names)
    ]


def _descriptor(explanation, tag):
    """Scores of a chosen descriptor and of its evidence, its badge, and whether its heatmap is empty."""
    row = explanation.descriptors.set_index("tag").loc[tag].to_dict()
    return (
        row
        | explanation.loop.set_index("tag").loc[tag].to_dict()
        | {"tag": tag, "badge": explanation.badges.get(tag), "empty": not np.any(explanation.heatmaps[tag])}
    )
