"""A page of auralised features: pictures, measures and players, without scripts or external files."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musictools import html

__all__ = ["thumbnail", "write"]


def write(path: str | Path, entries: Sequence[dict[str, Any]], *, title: str, note: str = "") -> Path:
    """Write the page.

    Parameters
    ----------
    path : str or Path
        Where to write the HTML file.
    entries : sequence of dict
        One per sound, in order, with the keys layer, feature (text), clip, file (relative to the page), S (dB,
        (n_bins, n_frames), or None), numbers (dict of str to float or str), and optionally top: see `thumbnail`.
    title, note : str
        Heading of the page; a remark below it.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If there is no entry.
    """
    if not entries:
        raise ValueError("entries must hold at least one sound. Got none.")
    layers = [
        (
            layer,
            [
                (feature, list(map(_sound, sounds)))
                for feature, sounds in itertools.groupby(group, lambda entry: entry["feature"])
            ],
        )
        for layer, group in itertools.groupby(entries, lambda entry: entry["layer"])
    ]
    return html.write(path, "auralisation.html.jinja", title=title, note=note, layers=layers)


def _sound(entry):
    """What the template needs of an entry; its spectrogram becomes a picture inside the page."""
    S = entry.get("S")
    picture = None if S is None else html.data_url(thumbnail(S, top=entry.get("top")))
    return {"clip": entry["clip"], "file": entry["file"], "picture": picture, "numbers": entry["numbers"]}


def thumbnail(S: np.ndarray, *, depth: float = 70.0, top: float | None = None) -> bytes:
    """Draw a small picture of a spectrogram.

    Parameters
    ----------
    S : np.ndarray [shape=(n_bins, n_frames)]
        dB, low frequency first.
    depth : float > 0
        dB from the brightest colour to the darkest.
    top : float or None
        dB of the brightest; None: the loudest cell. One level everywhere, such as silence, is dark.

    Returns
    -------
    png : bytes

    Examples
    --------
    >>> thumbnail(np.zeros((128, 50)))[1:4]
    b'PNG'
    """
    from matplotlib import colormaps
    from PIL import Image

    S = np.asarray(S)
    block = max(1, -(-len(S) // 129)), max(1, -(-S.shape[1] // 200))
    tall = np.pad(S, ((0, -len(S) % block[0]), (0, -S.shape[1] % block[1])), mode="edge")
    small = tall.reshape(len(tall) // block[0], block[0], -1, block[1]).max(axis=(1, 3))
    top = float(small.max()) + (depth if small.max() == small.min() else 0) if top is None else top
    colours = colormaps["magma"](np.clip((small - top) / depth + 1, 0, 1)[::-1], bytes=True)[..., :3]
    out = io.BytesIO()
    Image.fromarray(colours).quantize(48).save(out, format="PNG", optimize=True)
    return out.getvalue()
