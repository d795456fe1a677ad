"""An explanation that is stored, so that the explorer shows a song where no network is installed.

    python -m musictools.explorer.stored outputs/full SONG --title TITLE --tags TAG TAG

explains a song with the networks of a finished run and writes it to ``outputs/gallery/song``: ``explanation.json``, the
song, and a picture per descriptor with the square root of its positive relevance in 16 steps, up to the 99.9th
percentile. Relevance below 2 % of that is left out. Spectrogram and evidence are computed again when it is read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import audio, html
from musictools.explorer.songs import Song
from musictools.explorer.work import ExplorerError, sentence
from musictools.familiarity import Familiarity
from musictools.files import atomic, inside, read_text
from musictools.runs.paths import from_root
from musictools.spectrograms import FrontEnd

if TYPE_CHECKING:
    from musictools.explain.application.system import SongExplanation

__all__ = ["FOLDER", "LIMIT", "NAME", "main", "read", "write"]

FOLDER, NAME = "outputs/gallery/song", "explanation.json"
LIMIT = 300_000  # bytes of all files together
_SONG = "song.ogg"
_STEPS, _PERCENTILE, _LEAST = 15, 99.9, 0.02
_TABLES = ("votes", "descriptors", "sections", "loop")


def write(folder: str | Path, explanation: SongExplanation, *, song: Song, note: str) -> Path:
    """Store an explanation.

    Parameters
    ----------
    folder : str or Path
        Created if it is missing. Pictures of an earlier explanation are removed.
    explanation : SongExplanation
        With the heatmaps and badges that shall be shown.
    song : Song
    note : str
        Where song and explanation come from.

    Returns
    -------
    path : Path
        The JSON file.

    Raises
    ------
    ValueError
        If the files are larger than `LIMIT`.
    """
    from PIL import Image

    folder, names = Path(folder), html.anchors(explanation.heatmaps)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("heatmap-*.png"):
        path.unlink()
    values = {name: getattr(explanation, name) for name in ("genre", "method", "rule", "heard", "badges", "networks")}
    values |= {"title": song.title, "length": song.length, "note": note, "n": len(explanation.y), "heatmaps": {}}
    values["front_end"] = json.loads(explanation.front_end.to_json())
    values |= {name: getattr(explanation, name).round(4).to_dict("list") for name in _TABLES}
    if explanation.membership is not None:
        values["membership"] = explanation.membership.round(4).to_dict()
    if explanation.familiarity is not None:
        values["familiarity"] = dataclasses.asdict(explanation.familiarity)
    for tag, name in names.items():
        positive = np.maximum(explanation.heatmaps[tag], 0)
        top = float(np.percentile(positive, _PERCENTILE)) or float(positive.max()) or 1.0
        share = np.minimum(positive[::-1] / top, 1)
        levels = np.rint(_STEPS * np.sqrt(np.where(share < _LEAST, 0, share))) * (255 // _STEPS)
        Image.fromarray(levels.astype(np.uint8)).save(folder / f"heatmap-{name}.png", optimize=True)
        values["heatmaps"][tag] = {"file": f"heatmap-{name}.png", "top": top}
    y = explanation.y / max(1.0, float(np.abs(explanation.y).max()))
    audio.write(folder / _SONG, y, sr=explanation.front_end.sr)
    with atomic(folder / NAME) as temporary:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, default=lambda number: number.item())
        temporary.write_text(text + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LIMIT:
        raise ValueError(f"A stored explanation must not exceed {LIMIT} bytes. Got {size}. Store fewer descriptors.")
    return folder / NAME


def read(folder: str | Path) -> tuple[Song, SongExplanation]:
    """Read a stored explanation.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    song : Song
    explanation : SongExplanation

    Raises
    ------
    ExplorerError
        If files are missing or damaged.
    """
    from musictools.explain.application import evidence
    from musictools.explain.application.system import SongExplanation

    folder = Path(folder)
    with sentence(f"The song that is stored in {folder.name} cannot be read: its files are damaged or incomplete."):
        values = json.loads(read_text(folder / NAME))
        front_end = FrontEnd(**values.pop("front_end"))
        y, sr = audio.load(folder / _SONG)
        if sr != front_end.sr:
            raise ValueError(f"{_SONG} must have a sampling rate of {front_end.sr} Hz. Got {sr}.")
        n = values.pop("n")
        y = np.pad(y[:n], (0, max(n - len(y), 0)))
        song = Song(values.pop("title"), y, sr, values.pop("length"), values.pop("note"))
        S = front_end.compute(y)
        heatmaps = {tag: _relevance(folder, S.shape, **one) for tag, one in values.pop("heatmaps").items()}
        tables = {name: pd.DataFrame(values.pop(name)) for name in _TABLES}
        membership, familiarity = values.pop("membership", None), values.pop("familiarity", None)
        return song, SongExplanation(
            **values,
            **tables,
            membership=None if membership is None else pd.Series(membership),
            familiarity=None if familiarity is None else Familiarity(**familiarity),
            heatmaps=heatmaps,
            evidence=evidence.evidences(y, heatmaps, front_end=front_end),
            y=y,
            S=S,
            front_end=front_end,
            seconds={},
        )


def _relevance(folder, shape, *, file, top):
    """The relevance of a picture, which has a row per frequency bin and a column per frame."""
    from PIL import Image

    with Image.open(inside(folder, file)) as picture:
        if picture.size != shape[::-1] or picture.mode != "L":  # before it is unpacked
            raise ValueError(
                f"{file} must have {shape[1]} x {shape[0]} grey pixels. Got {picture.size} {picture.mode}."
            )
        levels = np.asarray(picture)
    return np.float32(top) * (levels[::-1] / np.float32(255)) ** 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Explain a song and store the explanation.

    Parameters
    ----------
    arguments : sequence of str or None
        None: those of the command line.
    """
    from musictools.explorer.controller import Explorer

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", help="folder of a finished run, such as outputs/full")
    parser.add_argument("song", help="audio file")
    parser.add_argument("--title")
    parser.add_argument("--note", default="", help="where song and networks come from")
    parser.add_argument("--tags", nargs="+", help="descriptors; default: the first three that are predicted")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--out", default=FOLDER)
    values = parser.parse_args(arguments)
    explorer = Explorer(values.models, tagger="tagger", genre="genre_model", seconds=values.seconds)
    explorer.open_file(values.song, title=values.title)
    explorer.wait()
    if explorer.explanation is None:
        raise SystemExit(f"error: {explorer.error or explorer.advice}")
    tags = values.tags or list(explorer.explanation.descriptors.query("predicted")["tag"][:3])
    for tag in tags:
        explorer.choose([tag])
        explorer.wait()
    try:
        if explorer.error:
            raise ExplorerError(explorer.error)
        kept = {tag: explorer.explanation.heatmaps[tag] for tag in tags}
        badges = {tag: explorer.explanation.badges[tag] for tag in tags}
        stored = dataclasses.replace(explorer.explanation, heatmaps=kept, badges=badges)
        path = write(from_root(values.out), stored, song=explorer.song, note=values.note)
    except (KeyError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    finally:
        explorer.close()
    size = sum(one.stat().st_size for one in path.parent.iterdir())
    print(f"{explorer.song.title}: {', '.join(tags)}, {size / 1000:.0f} kB in {path.parent}")


if __name__ == "__main__":
    main()
