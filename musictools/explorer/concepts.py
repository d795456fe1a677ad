"""Concepts of a profile's genre model, as notebook 13 has found them: what the page shows of them, without widgets.

The page has the five panels of `sharma2022` (4.2): all concepts by genre, their clusters, ten patches of a concept,
features of its songs, and concepts within a song. Up to two concepts are shown side by side. A *song* of this module is
one input: the excerpt of a clip that concepts were sought in.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools.concepts import storing
from musictools.concepts.layout import alike
from musictools.concepts.patches import bounding_box
from musictools.concepts.song_features import FEATURES, on_unit_scale
from musictools.explorer.player import flac, ticks
from musictools.explorer.work import ExplorerError, Progress, sentence
from musictools.plots import PALETTE
from musictools.runs.paths import from_root
from musictools.spectrograms import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from musictools.concepts import Concepts
    from musictools.explorer.controller import Explorer

__all__ = ["ALPHA", "FILE", "MOST", "PATCHES", "SONGS", "ConceptPanels", "outline", "picture"]

FILE = "files/concepts.npz"  # of notebook 13, in a profile's results
MOST = 2  # concepts side by side
PATCHES, SONGS = 10, 5  # of a concept, as in `sharma2022`
ALPHA = 0.05  # q below which a concept counts as used
_WITHIN, _ALIKE = 8, 10
_GREY = (0.25, 0.65)  # grey levels of what no concept holds


class ConceptPanels:
    """Concepts of all genres, and those that are chosen.

    Parameters
    ----------
    explorer : Explorer
        Its profile's concepts are shown; its data set gives the sounds, and its thread does the long work.
    changed : callable
        Called after every choice.

    Attributes
    ----------
    chosen : tuple of str
        Names of the concepts in detail, at most `MOST`.
    songs : tuple of int
        For each of them, the input in which concepts are shown.
    features : dict of int to dict
        What is known of songs: input -> feature -> value in [0, 1], and ``tempo_bpm`` and ``source``.
    advice : str
        What to do where there are no concepts; empty where there are.

    Examples
    --------
    >>> from musictools.explorer import Explorer
    >>> ConceptPanels(Explorer("outputs/none", files={"taggers": {}, "genres": {}, "mappings": {}})).advice
    'The profile none has no concepts yet. Make them: musictools rebuild --profile none --only 13'
    """

    def __init__(self, explorer: Explorer, *, changed: Callable[[], None] = lambda: None):
        self.explorer, self.changed, self.features = explorer, changed, {}
        self.chosen, self.songs = (), ()
        self.concepts: Concepts | None = None
        self.look()

    def look(self) -> None:
        """Look for concepts, if there were none before."""
        if self.concepts is not None:
            return
        path, profile = from_root(self.explorer.folder) / FILE, Path(self.explorer.folder).name
        self.advice = f"The profile {profile} has no concepts yet. Make them: "
        self.advice += f"musictools rebuild --profile {profile} --only 13"
        if not path.is_file():
            return
        try:
            concepts, tables = storing.load(path)
            x = storing.load_inputs(path)
        except ValueError:
            self.advice = f"The concepts of the profile {profile} cannot be read. Run notebook 13 again."
            return
        if x is None or not {"about", "clips", "arrangement", "flags", "holds"} <= set(tables):
            self.advice = f"The concepts of the profile {profile} were saved without pictures. Run notebook 13 again."
            return
        self._take(concepts, tables, x)

    def _take(self, concepts, tables, x):
        self.advice, self.concepts, self._x, self._clips = "", concepts, x, tables["clips"]
        more = tables["holds"][["property", "auc", "low", "high"]].join(tables["flags"][["flagged", "reason"]])
        self.table = concepts.table.join(more).join(tables["arrangement"])
        about = tables["about"].iloc[0]
        self.front_end = FrontEnd.from_json(about["front_end"])
        data = self.explorer.data
        if data is None or not data.has_audio:
            self.silence = "The data set's sounds are not here, so nothing can be played."
        elif data.tables_checksum != about["checksum"]:
            self.silence = "The concepts were found in another data set than the explorer's, so nothing can be played."
        else:
            self.silence = ""

    # --- Panels 1 and 2 -----------------------------------------------------------------------------------------------

    @property
    def groups(self) -> list[dict[str, str]]:
        """Genres with their colours, in the order of the table: name, colour."""
        names = dict.fromkeys(self.table["class"])
        return [{"name": name, "colour": PALETTE[k % len(PALETTE)]} for k, name in enumerate(names)]

    @functools.cached_property
    def points(self) -> list[dict[str, Any]]:
        """Concepts with a CAV: name, group, score, sensitivity, sure, flagged, cluster, x, y, cx, cy, like, text.

        x, y and the centre of the cluster lie in [0, 1]; like has the places, in this list, of the concepts with the
        most similar CAVs, most similar first.
        """
        shown = self.table[self.table["x"].notna() & self.table["sensitivity"].notna()]
        place = {name: k for k, name in enumerate(shown.index)}
        number = {group["name"]: k for k, group in enumerate(self.groups)}
        low, high = shown[["x", "y"]].min().to_numpy(), shown[["x", "y"]].max().to_numpy()
        points = []
        for name, row in shown.iterrows():
            x, y = (row[["x", "y"]].to_numpy(float) - low) / np.maximum(high - low, 1e-9)
            cx, cy = np.clip((row[["centre_x", "centre_y"]].to_numpy(float) - low) / np.maximum(high - low, 1e-9), 0, 1)
            like = [place[other] for other in alike(self.concepts, name, n=_ALIKE).index if other in place]
            points.append(
                {
                    "name": name, "group": number[row["class"]], "score": _float(row["score"]),
                    "sensitivity": _float(row["sensitivity"]), "sure": bool(row["q"] < ALPHA),
                    "flagged": bool(row["flagged"]), "cluster": int(row["cluster"]), "x": float(x), "y": float(y),
                    "cx": float(cx), "cy": float(cy), "like": like, "text": self.facts(name),
                }
            )  # fmt: skip
        return points

    @property
    def hidden(self) -> int:
        """Number of concepts without a CAV, which the panels leave out."""
        return len(self.table) - len(self.points)

    def facts(self, name: str) -> list[str]:
        """Say what is known of a concept, in sentences.

        Parameters
        ----------
        name : str

        Returns
        -------
        lines : list of str
        """
        row = self.table.loc[name]
        label = self.concepts.names.index(row["class"])
        total = len(np.unique(self.concepts.groups[self.concepts.labels == label]))
        lines = [f"{row['patches']} patches in {row['clips']} of {total} {row['class']} songs."]
        if np.isfinite(row["stability"]):
            lines[0] += (
                f" The most similar clusters of other seeds overlap with it by {row['stability']:.2f} (Jaccard index)."
            )
        lines += [_effect(row), _content(row)]
        if row["flagged"]:
            lines.append(f"Flagged as a likely artefact: {row['reason']}.")
        if np.isfinite(self.concepts.vectors[self.table.index.get_loc(name)]).all():
            near = [f"{other} ({cosine:.2f})" for other, cosine in alike(self.concepts, name, n=3).items()]
            lines.append(f"Most similar (cosine of the CAVs): {', '.join(near)}.")
        return lines

    # --- What is chosen -----------------------------------------------------------------------------------------------

    def choose(self, name: str, *, slot: int = 0) -> None:
        """Choose a concept; its strongest song is shown in panel 5, and features of its songs are computed.

        Parameters
        ----------
        name : str
            Of the table.
        slot : int
            0: first concept, 1: second one. The second needs a first.
        """
        if name not in self.table.index:
            return
        slot = min(slot, MOST - 1)
        self.chosen = (*self.chosen[:slot], name, *self.chosen[slot + 1 :])
        self.songs = (*self.songs[:slot], self.songs_of(name)[0], *self.songs[slot + 1 :])
        wanted = [one for one in self.songs_of(name) if one not in self.features]
        if wanted and not self.silence:
            self.explorer.work(("concept", name), lambda: self._features(wanted))
        self.changed()

    def drop(self) -> None:
        """Show one concept only."""
        self.chosen, self.songs = self.chosen[:1], self.songs[:1]
        self.changed()

    def choose_song(self, song: int, *, slot: int = 0) -> None:
        """Choose the song of panel 5.

        Parameters
        ----------
        song : int
            An input of the concept's genre.
        slot : int
        """
        if slot < len(self.chosen) and song in self.songs_of_genre(self.table.at[self.chosen[slot], "class"]):
            self.songs = (*self.songs[:slot], int(song), *self.songs[slot + 1 :])
            self.changed()

    # --- Panels 3 to 5 ------------------------------------------------------------------------------------------------

    def songs_of(self, name: str) -> list[int]:
        """Choose the songs with the patches nearest to a concept's centre, at most `SONGS`.

        Parameters
        ----------
        name : str

        Returns
        -------
        songs : list of int
        """
        songs, clips = [], set()
        for song in self.concepts.patches.input[self.concepts.members(name)]:
            clip = self.concepts.groups[song]
            if clip not in clips:
                clips.add(clip)
                songs.append(int(song))
        return songs[:SONGS]

    def songs_of_genre(self, genre: str) -> list[int]:
        """List the songs in which concepts of a genre were sought.

        Parameters
        ----------
        genre : str

        Returns
        -------
        songs : list of int
        """
        return np.flatnonzero(self.concepts.labels == self.concepts.names.index(genre)).tolist()

    def title(self, song: int) -> str:
        """Name a song by its title and clip.

        Parameters
        ----------
        song : int

        Returns
        -------
        title : str
        """
        return f"{self._clips['title'].iloc[song]} ({self.concepts.groups[song]})"

    def span(self, song: int) -> tuple[float, float]:
        """Place the excerpt in its song.

        Parameters
        ----------
        song : int

        Returns
        -------
        start, end : float
            In s.
        """
        start = float(self._clips["start"].iloc[song]) * self.front_end.frame_seconds
        return start, start + self._x.shape[2] * self.front_end.frame_seconds

    def patches(self, name: str) -> list[dict[str, Any]]:
        """Describe the patches of a concept that are nearest to its centre.

        Parameters
        ----------
        name : str

        Returns
        -------
        patches : list of dict
            index, song, title, box (left, bottom, width, height in shares of the picture), path (an SVG outline in its
            cells), where (in s and Hz).
        """
        return [self._patch(int(index)) for index in self.concepts.members(name)[:PATCHES]]

    def _patch(self, index):
        song, mask = int(self.concepts.patches.input[index]), self.concepts.patches.mask(index)
        row, column, rows, columns = bounding_box(mask)
        n_bins, n_frames = mask.shape
        start, _ = self.span(song)
        times = start + np.array([column, column + columns]) * self.front_end.frame_seconds
        frequencies = self.front_end.frequencies()
        where = f"{times[0]:.1f}–{times[1]:.1f} s, {frequencies[row]:,.0f}–{frequencies[row + rows - 1]:,.0f} Hz"
        box = [column / n_frames, row / n_bins, columns / n_frames, rows / n_bins]
        return {
            "index": index, "song": song, "title": self.title(song), "box": box, "path": outline(mask), "where": where,
        }  # fmt: skip

    def within(self, name: str, song: int) -> list[dict[str, Any]]:
        """Concepts within a song: those that its genre uses most, and the chosen one.

        Parameters
        ----------
        name : str
            Chosen concept, whose patches come first.
        song : int

        Returns
        -------
        shown : list of dict
            name, index (of the patch), path, x and y (of its middle, shares from the left and from below), raises,
            chosen. A patch that lies half under a stronger one is left out.
        """
        own = np.flatnonzero(self.concepts.patches.input == song)
        own = own[self.concepts.concept[own] >= 0]
        rows = self.table.iloc[self.concepts.concept[own]]
        mine = (rows.index == name).astype(bool)
        used = ((rows["q"] < ALPHA) & rows["kept"]).to_numpy(bool)
        order = sorted(np.flatnonzero(mine | used), key=lambda k: (not mine[k], -abs(rows["sensitivity"].iloc[k])))
        covered, shown = np.zeros(self._x.shape[1:3], bool), []
        for k in order:
            mask = self.concepts.patches.mask(own[k])
            if (mask & covered).sum() > 0.5 * mask.sum() or len(shown) == _WITHIN:
                continue
            covered |= mask
            y, x = (np.mean(place) for place in np.nonzero(mask))
            shown.append(
                {
                    "name": str(rows.index[k]), "index": int(own[k]), "path": outline(mask),
                    "x": float((x + 0.5) / mask.shape[1]), "y": float((y + 0.5) / mask.shape[0]),
                    "raises": bool(rows["sensitivity"].iloc[k] > 0), "chosen": bool(mine[k]),
                }
            )  # fmt: skip
        return shown

    def input(self, song: int) -> np.ndarray:
        """Get the spectrogram of a song.

        Parameters
        ----------
        song : int

        Returns
        -------
        x : np.ndarray [shape=(n_bins, n_frames)]
            In [0, 1].
        """
        return self._x[song]

    def stitched(self, name: str, song: int) -> np.ndarray:
        """Join the cells of the concepts of `within`.

        Parameters
        ----------
        name : str
        song : int

        Returns
        -------
        cells : np.ndarray [shape=(n_bins, n_frames), bool]
        """
        masks = [self.concepts.patches.mask(one["index"]) for one in self.within(name, song)]
        return np.any(masks, axis=0) if masks else np.zeros(self._x.shape[1:3], bool)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Frequencies beside a spectrogram: share of the height from below, and label."""
        return ticks(self.front_end)

    # --- Sounds and features ------------------------------------------------------------------------------------------

    def sound(self, kind: str, number: int) -> bytes:
        """Make a sound.

        Parameters
        ----------
        kind : {"song", "patch"}
        number : int
            An input, or a patch: of this nothing is heard but its cells, from its first to its last frame.

        Returns
        -------
        flac : bytes

        Raises
        ------
        ExplorerError
            If there is no sound.
        """
        if self.silence:
            raise ExplorerError(self.silence)
        if kind == "song":
            return flac(self._excerpt(number), sr=self.front_end.sr)
        song, mask = int(self.concepts.patches.input[number]), self.concepts.patches.mask(number)
        y, hop = self._excerpt(song), self.front_end.frame_seconds * self.front_end.sr
        if self.front_end.kind in ("mel", "stft"):  # else only its time is cut out
            from scipy.ndimage import gaussian_filter

            from musictools.explain.application.evidence import resynthesise

            soft = np.zeros((mask.shape[0], self.front_end.n_frames(len(y))), np.float32)
            soft[:, : mask.shape[1]] = mask[:, : soft.shape[1]]
            y = resynthesise(y, np.clip(gaussian_filter(soft, 1.0), 0, 1), front_end=self.front_end)[0]
        _, column, _, columns = bounding_box(mask)
        part = y[max(0, round((column - 1) * hop)) : round((column + columns + 1) * hop)]
        return flac(part, sr=self.front_end.sr)

    def _excerpt(self, song):
        y, clip = self._audio(song), self.title(song)
        start, end = (round(second * self.front_end.sr) for second in self.span(song))
        if len(y) <= start:
            raise ExplorerError(f"{clip}: the sound is shorter than its spectrogram.")
        return y[start:end]

    def _audio(self, song):
        clip = self.concepts.groups[song]
        clip = clip.item() if isinstance(clip, np.generic) else clip
        with sentence(f"{self.title(song)}: the data set cannot read this clip."):
            return self.explorer.data.audio(clip, sr=self.front_end.sr)[0]

    def _features(self, songs) -> Iterator[Progress]:
        from musictools.concepts import song_features

        for k, song in enumerate(songs):
            yield Progress("measuring features of the songs", k / len(songs))
            if song in self.features:
                continue
            clip = self.concepts.groups[song]
            with sentence(f"{self.title(song)}: its features cannot be measured."):
                table = song_features.table(
                    self.explorer.data, [clip.item() if isinstance(clip, np.generic) else clip], workers=1
                )
            self.features = self.features | {song: _features(table)}
        yield Progress("measuring features of the songs", 1.0)


def _features(table: pd.DataFrame) -> dict[str, Any]:
    row = table.iloc[0]
    if not row["source"]:
        return {"source": "not measurable"}
    values = on_unit_scale(table).iloc[0]
    return {name: float(values[name]) for name in FEATURES} | {
        "tempo_bpm": float(row["tempo"]), "source": str(row["source"]),
    }  # fmt: skip


def _float(value):
    return float(value) if np.isfinite(value) else None


def _effect(row):
    if not row["passed"] or not np.isfinite(row["q"]):
        return "Its patches cannot be told from random ones, so its effect was not tested."
    numbers = f"sensitivity {row['sensitivity']:.3f}, q = {_q(row['q'])}; TCAV score {row['score']:.2f}"
    if row["q"] >= ALPHA:
        return f"Its effect is no larger than that of random patches ({numbers})."
    return f"It {'raises' if row['sensitivity'] > 0 else 'lowers'} the score of {row['class']} ({numbers})."


def _q(value):
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _content(row):
    if not isinstance(row["property"], str) or not row["low"] > 0.5:
        return "No musical property tells its patches from others of the genre."
    return (
        f"Its patches differ most from others of the genre in this: {row['property']} "
        f"(AUC {row['auc']:.2f}, interval {row['low']:.2f} to {row['high']:.2f})."
    )


def outline(mask: np.ndarray) -> str:
    """Outline of a patch as an SVG path, in cells from the upper left corner of the picture.

    Parameters
    ----------
    mask : np.ndarray [shape=(n_bins, n_frames), bool]
        Low frequency first.

    Returns
    -------
    path : str

    Examples
    --------
    >>> outline(np.array([[True, True], [False, False]]))
    'M0 1H2V2H0Z'
    """
    padded = np.pad(mask[::-1], 1).astype(bool)
    inside = padded[1:-1, 1:-1]
    after = {}  # corner -> corners that an edge leads to, with the patch on its right
    for (rows, columns), begin, end in (
        (np.nonzero(inside & ~padded[:-2, 1:-1]), (0, 0), (0, 1)),
        (np.nonzero(inside & ~padded[1:-1, 2:]), (0, 1), (1, 1)),
        (np.nonzero(inside & ~padded[2:, 1:-1]), (1, 1), (1, 0)),
        (np.nonzero(inside & ~padded[1:-1, :-2]), (1, 0), (0, 0)),
    ):
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            after.setdefault((row + begin[0], column + begin[1]), []).append((row + end[0], column + end[1]))
    path = []
    while after:
        start = here = min(after)
        path.append(f"M{here[1]} {here[0]}")
        steps = ""
        while True:
            there = after[here].pop()
            if not after[here]:
                del after[here]
            level = there[0] == here[0]
            if steps == ("H" if level else "V"):
                path.pop()  # a straight line goes on
            steps = "H" if level else "V"
            if there == start:
                break
            path.append(f"H{there[1]}" if level else f"V{there[0]}")
            here = there
        path.append("Z")
    return "".join(path)


def picture(x: np.ndarray, inside: np.ndarray | None = None) -> bytes:
    """Draw a spectrogram in colour.

    Parameters
    ----------
    x : np.ndarray [shape=(n_bins, n_frames)]
        In [0, 1].
    inside : np.ndarray [shape=(n_bins, n_frames), bool] or None
        Everything else is grey; None: nothing is.

    Returns
    -------
    png : bytes
    """
    import matplotlib as mpl
    from PIL import Image

    low, high = np.percentile(x, (1, 99.9))
    level = np.clip((x - low) / max(high - low, 1e-9), 0, 1)
    pixels = mpl.colormaps["magma"](level, bytes=True)[..., :3]
    if inside is not None:
        grey = np.uint8(255 * (_GREY[0] + (_GREY[1] - _GREY[0]) * level))[..., None]
        pixels = np.where(inside[..., None], pixels, grey)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[::-1])).save(buffer, format="png", compress_level=3)
    return buffer.getvalue()
