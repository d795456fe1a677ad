"""The feature maps that carry a descriptor, as notebook 06 found them, computed for the explorer's song.

Notebook 06 probes two networks of a profile: its genre model and its tagger ``tagger``. A map *carries* a descriptor
here if the 95 % interval of its F1 lies above that of a constant yes.
"""

from __future__ import annotations

import dataclasses
import filecmp
import functools
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools.explorer.work import Progress, sentence
from musictools.html import data_url
from musictools.runs.paths import from_root

if TYPE_CHECKING:
    from musictools.explorer.controller import Explorer
    from musictools.inference import AudioModel

__all__ = ["CarryingMaps", "Thumbnail", "best_maps", "html", "picture", "place"]

_TABLE = "probing_best_maps"  # of notebook 06
_SPECTROGRAM = "input"  # the layer that stands for the network's input
_COLUMNS = ["network", "layer", "tag", "feature_map", "f1", "guess_f1", "over_guess_low"]
_WORDS = {"genre": "genre model", "tagger": "tagger"}


@dataclasses.dataclass(frozen=True, eq=False)
class Thumbnail:
    """One feature map of one section of the song.

    Attributes
    ----------
    network : str
        "genre model" or "tagger".
    layer : str
        Name of the block's last layer.
    index : int
        Of the map in its layer.
    values : np.ndarray [shape=(height, width)]
        Low frequency first.
    start, end : float
        Of the section in s.
    f1, guess, untrained : float
        F1 of the map's probe, of a constant yes, and of the best map of the same layer with random weights (NaN:
        unknown).
    """

    network: str
    layer: str
    index: int
    values: np.ndarray
    start: float
    end: float
    f1: float
    guess: float
    untrained: float

    @property
    def name(self) -> str:
        """Network, layer and index in words."""
        single = " (a single value)" if self.values.size == 1 else ""
        return f"{self.network}, {self.layer}, map {self.index}{single}"

    @property
    def alt(self) -> str:
        """What is seen, in words."""
        return f"Feature map: {self.name}, {self.start:.1f} to {self.end:.1f} s of the song, {place(self.values)}"

    @property
    def measures(self) -> str:
        """F1 of the map and of its baselines in words."""
        untrained = f", random weights {self.untrained:.2f}" if np.isfinite(self.untrained) else ""
        return f"F1 {self.f1:.2f} (always yes {self.guess:.2f}{untrained})"


class CarryingMaps:
    """Thumbnails for the descriptors that the explorer shows.

    Parameters
    ----------
    explorer : Explorer
        Its thread computes the maps.
    """

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        self._made: dict[str, list[Thumbnail]] = {}
        self._asked: set[str] = set()  # so that what failed or was cancelled does not begin again by itself
        self._explained = None

    def of(self, tag: str) -> list[Thumbnail] | None:
        """Return the thumbnails of a descriptor; None: they have not been computed.

        Parameters
        ----------
        tag : str

        Returns
        -------
        thumbnails : list of Thumbnail or None
        """
        return self._made.get(tag) if self._explained == self._key() else None

    def ask(self) -> None:
        """Compute the maps of the chosen descriptors whose heatmaps are there, once the tests of the heatmaps are."""
        explorer = self.explorer
        if explorer.explanation is None or explorer.system is None:
            return
        if self._explained != self._key():
            self._explained, self._made, self._asked = self._key(), {}, set()
        table = self._table()
        for tag in explorer.chosen:
            if tag in explorer.explanation.badges and tag not in self._asked and len(table[table["tag"] == tag]):
                self._asked.add(tag)
                explorer.work(("maps", *self._explained, tag), lambda tag=tag: self._compute(tag, table))

    def ask_again(self) -> None:
        """Ask for what failed or was cancelled at the next `ask`."""
        self._asked &= set(self._made)

    def sentence(self, tag: str) -> str:
        """Say what is known of a descriptor's maps; plain text.

        Parameters
        ----------
        tag : str

        Returns
        -------
        sentence : str
        """
        explorer = self.explorer
        if best_maps(explorer.folder) is None:
            profile = Path(explorer.folder).name
            return (
                "Which feature maps carry a descriptor is known after notebook 06: "
                f"musictools rebuild --profile {profile} --only 06"
            )
        networks = self._networks()
        if not networks:
            return (
                "Notebook 06 has probed the profile's networks tagger and genre_model, and none of the two is chosen."
            )
        table, made = self._table(), self.of(tag)
        probed = table[table["tag"] == tag]
        who = " and ".join(_WORDS[name] for name in networks)
        if not len(probed):
            tags = ", ".join(sorted(table["tag"].unique()))
            return f"Notebook 06 has not probed the {who} for {tag}. It has for {tags}."
        if made is None:
            waits = explorer.busy or tag not in self._asked
            return f"{tag}: the feature maps {'are being' if waits else 'have not been'} computed."
        if not made:
            return f"No feature map of the {who} predicts {tag} better than a constant yes."
        return (
            f"Feature maps that carry {tag}, the best of each block, where the song has the highest score for it. "
            "The F1 says how well a probe predicts the descriptor from this map alone. If random weights do as well, "
            "it shows the sound rather than what the network has learnt."
        )

    def _key(self):
        explorer = self.explorer
        return id(explorer.song), explorer.tagger, explorer.genre

    def _networks(self) -> list[str]:
        """Those of the two probed networks that the explorer uses."""
        explorer, models = self.explorer, from_root(self.explorer.folder) / "models"
        files = {"genre": explorer.files["genres"].get(explorer.genre)}
        files["tagger"] = explorer.files["taggers"].get(explorer.tagger)
        probed = {"genre": models / "genre_model.keras", "tagger": models / "tagger.keras"}
        return [name for name, file in files.items() if file is not None and _same(file, probed[name])]

    def _table(self):
        table = best_maps(self.explorer.folder)
        networks = self._networks() if table is not None else []
        return (
            pd.DataFrame(columns=[*_COLUMNS, "untrained"]) if table is None else table[table["network"].isin(networks)]
        )

    def _compute(self, tag, table) -> Iterator[Progress]:
        from musictools.probing import maps

        explorer, explanation, key = self.explorer, self.explorer.explanation, self._key()
        made, system = [], explorer.system
        models = {"genre": system.genre_model, "tagger": system.descriptor_model}
        middle = _middle(explanation.sections, tag)
        carrying = table[(table["tag"] == tag) & (table["over_guess_low"] > 0)]
        for k, (name, own) in enumerate(carrying.groupby("network", sort=False)):
            yield Progress(f"computing feature maps of {tag}", k / 2)
            with sentence(f"The feature maps of the {_WORDS[name]} cannot be computed."):
                x, start, end = _section(models[name], explanation, middle)
                values = maps.maps_of(models[name].model, x)
            made += [
                Thumbnail(
                    _WORDS[name],
                    row.layer,
                    int(row.feature_map),
                    values[row.layer][int(row.feature_map)],
                    start,
                    end,
                    float(row.f1),
                    float(row.guess_f1),
                    float(row.untrained),
                )
                for row in own.itertuples()
            ]
        yield Progress(f"computing feature maps of {tag}", 0.99)
        if key == self._key() == self._explained:
            self._made[tag] = made


def best_maps(folder: str | Path) -> pd.DataFrame | None:
    """Read which map of each layer predicts each descriptor best.

    Parameters
    ----------
    folder : str or Path
        Of the profile.

    Returns
    -------
    table : pd.DataFrame or None
        network ("genre" or "tagger"), layer, tag, feature_map, f1, guess_f1, over_guess_low, untrained (F1 of the best
        map of the same layer with random weights). None: notebook 06 has not written it.
    """
    path = from_root(folder) / "tables" / f"{_TABLE}.csv"
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


@functools.lru_cache(2)
def _read(path, _time):
    """The table of `best_maps`; it is read again when the file has changed."""
    try:
        table = pd.read_csv(path)[_COLUMNS]
    except (OSError, ValueError, KeyError):
        return None
    table = table[table["layer"] != _SPECTROGRAM]
    untrained = table[table["network"].str.endswith(" untrained")]
    untrained = untrained.assign(network=untrained["network"].str.removesuffix(" untrained"), untrained=untrained["f1"])
    keys = ["network", "layer", "tag"]
    return table[table["network"].isin(_WORDS)].merge(untrained[[*keys, "untrained"]], on=keys, how="left")


def html(maps: CarryingMaps) -> str:
    """Show the thumbnails of the chosen descriptors, each with its F1 and an alternative text.

    Parameters
    ----------
    maps : CarryingMaps

    Returns
    -------
    html : str
    """
    lines = []
    for tag in maps.explorer.chosen:
        lines.append(f'<p class="mt-note">{escape(maps.sentence(tag))}</p>')
        figures = [
            f'<figure><img src="{data_url(picture(one.values))}" alt="{escape(one.alt)}">'
            f"<figcaption>{escape(one.name)}<br>{escape(one.measures)}</figcaption></figure>"
            for one in maps.of(tag) or ()
        ]
        lines.append(f'<div class="mt-maps">{"".join(figures)}</div>' if figures else "")
    return "".join(dict.fromkeys(lines))  # what holds for all descriptors is said once


def place(values: np.ndarray) -> str:
    """Say where a map has its largest value.

    Parameters
    ----------
    values : np.ndarray [shape=(height, width)]
        Low frequency first.

    Returns
    -------
    words : str

    Examples
    --------
    >>> place(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    'largest at the end, in the low frequencies'
    >>> place(np.ones((4, 4)))
    'the same everywhere'
    """
    if values.size == 1:
        return "a single value"
    if np.ptp(values) == 0:
        return "the same everywhere"
    row, column = np.unravel_index(np.argmax(values), values.shape)
    height, width = values.shape
    when = ("at the beginning", "in the middle", "at the end")[min(int(3 * (column + 0.5) / width), 2)]
    where = ("low", "middle", "high")[min(int(3 * (row + 0.5) / height), 2)]
    return f"largest {when}" + (f", in the {where} frequencies" if height > 1 else "")


def picture(values: np.ndarray) -> bytes:
    """Draw a map from its lowest value, dark, to its highest, bright.

    Parameters
    ----------
    values : np.ndarray [shape=(height, width)]

    Returns
    -------
    png : bytes
    """
    import matplotlib
    from PIL import Image

    share = (values - values.min()) / (np.ptp(values) or 1)
    buffer = io.BytesIO()
    pixels = matplotlib.colormaps["magma"](share[::-1], bytes=True)[..., :3]
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png")
    return buffer.getvalue()


def _same(file, other):
    """Whether two files hold the same model: notebook 03 writes its best tagger twice."""
    return other.is_file() and Path(file).is_file() and (Path(file) == other or filecmp.cmp(file, other, shallow=False))


def _middle(sections, tag):
    best = sections.iloc[int(sections[tag].argmax())]
    return (best["start"] + best["end"]) / 2


def _section(model: AudioModel, explanation: Any, middle: float):
    """The network's input around a time, and where it starts and ends."""
    from musictools import audio

    sr, hop = model.front_end.sr, model.front_end.hop_length / model.front_end.sr
    same = model.front_end == explanation.front_end
    y = (
        explanation.y
        if sr == explanation.front_end.sr
        else audio.resample(explanation.y, orig_sr=explanation.front_end.sr, sr=sr)
    )
    x = model.inputs(y, S=explanation.S if same else None)
    starts = np.arange(len(x)) * model.step * hop
    k = int(np.abs(starts + model.length * hop / 2 - middle).argmin())
    return x[k], float(starts[k]), float(starts[k] + model.length * hop)
