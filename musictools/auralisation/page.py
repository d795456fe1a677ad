"""Features to listen to, as one page: pictures, numbers and players, no script, nothing from outside."""

import base64
import html
import io

import numpy as np

from musictools import runs

__all__ = ["thumbnail", "write"]

_STYLE = """
body { font: 16px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222; max-width: 90rem; margin: 2rem auto;
       padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 }
h2 { margin-top: 2.5rem; border-bottom: 2px solid #357 }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid #ccd; padding: .5rem }
figure img { width: 100%; height: 9rem; display: block; image-rendering: pixelated }
figure audio { width: 100% }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .7rem; margin: .3rem 0; font-size: 13px }
dd { margin: 0; font-variant-numeric: tabular-nums }
.note { color: #555; font-size: 14px }
:focus-visible { outline: 3px solid #e0a000; outline-offset: 2px }
"""


def write(path, entries, *, title, note=""):
    """Write the page.

    Parameters
    ----------
    path : str or Path
        Of the HTML file.
    entries : sequence of dict
        One a sound, in order: layer, feature (text), clip, file (relative to the page), S (dB, (n_bins, n_frames), or
        None), numbers (dict of str to float or str); top: see `thumbnail`, may be missing.
    title, note : str
        Above the page; what there is to say of it.

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
    parts, layer, feature = [], None, None
    for entry in entries:
        if (entry["layer"], entry["feature"]) != (layer, feature):
            parts.append("</div>" if feature is not None else "")
            parts.append(f"<h2>{_text(entry['layer'])}</h2>" if entry["layer"] != layer else "")
            parts.append(f"<h3>{_text(entry['feature'])}</h3><div class='row'>")
        layer, feature = entry["layer"], entry["feature"]
        parts.append(_figure(entry))
    body = "\n".join(p for p in parts if p)
    page = (f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f"<meta name='viewport' content='width=device-width'><title>{_text(title)}</title>"
            f"<style>{_STYLE}</style></head><body>\n<h1>{_text(title)}</h1><p class='note'>{_text(note)}</p>\n"
            f"{body}</div></body></html>\n")
    with runs.atomic(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def thumbnail(S, *, depth=70.0, top=None):
    """A small picture of a spectrogram.

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


def _figure(entry):
    label = f"{entry['feature']}, {entry['clip']}"
    picture = ""
    if entry.get("S") is not None:
        data = base64.b64encode(thumbnail(entry["S"], top=entry.get("top"))).decode()
        picture = f"<img alt='Spectrogram of {_text(label)}' src='data:image/png;base64,{data}'>"
    numbers = "".join(f"<dt>{_text(name)}</dt><dd>{_number(value)}</dd>" for name, value in entry["numbers"].items())
    return (f"<figure><figcaption>{_text(entry['clip'])}</figcaption>{picture}"
            f"<audio controls preload='metadata' src='{_text(entry['file'])}' aria-label='{_text(label)}'></audio>"
            f"<dl>{numbers}</dl></figure>")


def _number(value):
    if isinstance(value, str):
        return _text(value)
    return "–" if not np.isfinite(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _text(value):
    return html.escape(str(value), quote=True)
