"""The player: one anywidget that draws and plays a song; its script lies beside this file and loads nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import numpy as np
import traitlets

if TYPE_CHECKING:
    from musictools.explain.application.system import SongExplanation
    from musictools.spectrograms import FrontEnd

__all__ = ["COLOURS", "Player", "flac", "layer", "levels", "shown_front_end", "spectrogram", "strongest", "ticks"]

COLOURS = ("#de8f05", "#56b4e9")  # of heatmaps, from `plots.PALETTE`: bright enough on a grey spectrogram
_COLUMNS = 6000  # of a picture at most
_PERCENTILE = 99.5  # of the relevance at which a heatmap's colour is opaque, as in `plots.heatmap`
_BRIGHTEST = 0.75  # of the grey spectrogram, so that colours stand out


class Player(anywidget.AnyWidget):
    """A song with its pictures: votes, spectrogram and heatmaps, taggram.

    Attributes
    ----------
    song : bytes
        FLAC.
    sounds : list of dict
        Further sounds of the same length: key, label, version, data (FLAC).
    duration : float
        In s.
    spectrogram : bytes
        PNG.
    layers : list of dict
        Heatmaps above it: tag, colour, data (PNG), and label if it is not "where the tagger finds" the tag.
    ticks : list of (float, str)
        Frequencies: share of the height from below, label.
    votes : list of dict
        start, end, genre, colour.
    taggram : dict
        tags, edges (s; the same for all rows or a list for each), scores by tag, predicted. A row without scores is a
        heading; None is a score that the network does not give.
    span : float
        In s: the time axis is at least as long, so that several songs have one scale.
    height : int
        Of the spectrogram in pixels.
    window : list of float
        Start and end in s of the part that is shown. Players whose windows are linked zoom together.
    alt : str
        What is seen, in words.
    position, playing, source, loop
        What the browser reports: s, bool, key of a sound, start and end in s or nothing.
    """

    _esm = Path(__file__).with_name("player.js")
    _css = Path(__file__).with_name("player.css")
    song = traitlets.Bytes(b"").tag(sync=True)
    sounds = traitlets.List().tag(sync=True)
    duration = traitlets.Float(1.0).tag(sync=True)
    spectrogram = traitlets.Bytes(b"").tag(sync=True)
    layers = traitlets.List().tag(sync=True)
    ticks = traitlets.List().tag(sync=True)
    votes = traitlets.List().tag(sync=True)
    taggram = traitlets.Dict().tag(sync=True)
    span = traitlets.Float(0.0).tag(sync=True)
    height = traitlets.Int(240).tag(sync=True)
    window = traitlets.List().tag(sync=True)
    alt = traitlets.Unicode("Position in the song").tag(sync=True)
    position = traitlets.Float(0.0).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    source = traitlets.Unicode("song").tag(sync=True)
    loop = traitlets.List().tag(sync=True)

    def __init__(self):
        super().__init__()


def flac(y: np.ndarray, *, sr: int) -> bytes:
    """Encode a waveform; one that would clip is made quieter.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.

    Returns
    -------
    content : bytes

    Examples
    --------
    >>> flac(np.zeros(8000), sr=8000)[:4]
    b'fLaC'
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, y / max(1.0, float(np.abs(y).max())), sr, format="FLAC")
    return buffer.getvalue()


def levels(*explanations: SongExplanation) -> tuple[float, float]:
    """Ends of the grey scale that spectrograms have in common.

    Parameters
    ----------
    *explanations : SongExplanation

    Returns
    -------
    low, high : float
        In dB.
    """
    low, high = np.percentile(np.concatenate([_levels(one).ravel() for one in explanations]), (1, 99.9))
    return float(low), float(high)


def spectrogram(explanation: SongExplanation, *, ends: tuple[float, float] | None = None) -> bytes:
    """Draw a song's spectrogram in grey, without axes.

    Parameters
    ----------
    explanation : SongExplanation
    ends : (float, float) or None
        Of the grey scale; None: `levels` of this song.

    Returns
    -------
    png : bytes
    """
    S = _levels(explanation)
    low, high = np.percentile(S, (1, 99.9)) if ends is None else ends
    grey = 255 * _BRIGHTEST * np.clip((S - low) / max(high - low, 1e-9), 0, 1)
    return _png(grey[::-1].astype(np.uint8))


def strongest(*heatmaps: np.ndarray) -> float:
    """Relevance at which the colour of several heatmaps of one scale is opaque.

    Parameters
    ----------
    *heatmaps : np.ndarray [shape=(n_bins, n_frames)]
        Those that are nowhere positive do not count.

    Returns
    -------
    top : float
        The highest of their own, as in `layer`; 0 if none is positive.

    Examples
    --------
    >>> strongest(np.array([[0.0, 1.0]]), np.array([[0.0, 4.0]]))
    3.98
    """
    return max((_top(_positive(one)) for one in heatmaps if (one > 0).any()), default=0.0)


def layer(relevance: np.ndarray, *, colour: str, top: float | None = None) -> bytes:
    """Draw a heatmap in one colour, the more opaque the higher the relevance; negative relevance is not drawn.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        For a waveform of shape (1, n) the picture is one row of columns.
    colour : str
        Such as "#de8f05".
    top : float or None
        Relevance at which the colour is opaque; None: `strongest` of this heatmap.

    Returns
    -------
    png : bytes
    """
    positive = _positive(relevance)
    top = top or _top(positive)
    picture = np.empty((*positive.shape, 4), np.uint8)
    picture[..., :3] = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    picture[..., 3] = 255 * np.clip(1.5 * positive[::-1] / top, 0, 1)
    return _png(picture)


def shown_front_end(front_end: FrontEnd) -> FrontEnd:
    """Choose the front end of the picture: the network's own; for a waveform a mel spectrogram.

    Parameters
    ----------
    front_end : FrontEnd

    Returns
    -------
    front_end : FrontEnd
    """
    from musictools.spectrograms import FrontEnd

    return FrontEnd(front_end.sr, 512, 256, 96) if front_end.kind == "waveform" else front_end


def ticks(front_end: FrontEnd) -> list[tuple[float, str]]:
    """Frequencies beside the picture.

    Parameters
    ----------
    front_end : FrontEnd

    Returns
    -------
    ticks : list of (float, str)
        Share of the height from below, and label.

    Examples
    --------
    >>> from musictools.spectrograms import FrontEnd
    >>> [label for _, label in ticks(FrontEnd(16000, 512, 256, 128))]
    ['500 Hz', '1,000 Hz', '2,000 Hz', '4,000 Hz']
    """
    frequencies = shown_front_end(front_end).frequencies()
    wanted = [f for f in (500, 1000, 2000, 4000, 8000) if frequencies[0] <= f <= frequencies[-1]]
    places = (np.interp(wanted, frequencies, np.arange(len(frequencies))) + 0.5) / len(frequencies)
    return [(float(place), f"{f:,} Hz") for place, f in zip(places, wanted, strict=True)]


def _levels(explanation):
    front_end = shown_front_end(explanation.front_end)
    return _narrow(explanation.S if front_end == explanation.front_end else front_end.compute(explanation.y))


def _positive(relevance):
    return _narrow(np.maximum(relevance, 0), join=np.sum if len(relevance) == 1 else np.max)


def _top(positive):
    return float(np.percentile(positive, _PERCENTILE)) or float(positive.max()) or 1.0


def _narrow(values, *, join=np.max):
    """At most `_COLUMNS` columns, each the maximum (or another joint value) of those that it stands for."""
    block = -(-values.shape[1] // _COLUMNS)
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % block)), mode="edge")
    return join(padded.reshape(len(values), -1, block), axis=2)


def _png(pixels):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", compress_level=3)
    return buffer.getvalue()
