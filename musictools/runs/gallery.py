"""The gallery: executed notebooks of a finished run, small and clean enough to be committed.

``outputs/gallery/`` holds one notebook for each of ``notebooks/``. Its first cell says from which run it comes. Figures
are as wide as the first of `WIDTHS` with which all files fit into `LIMIT`. Sounds are left out, and paths of the
machine are replaced.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musictools.files import atomic

from . import manifests
from .paths import data_home, root, shared_data
from .settings import parameters

__all__ = ["LIMIT", "WIDTHS", "code_cells", "gallery"]

LIMIT = 12 * 10**6  # bytes of all files
WIDTHS = tuple(range(1000, 599, -50))  # pixels of a figure, the first that fits
_COLOURS = 256  # of a figure's palette
_SILENT = "*Sounds are left out of the gallery. Run the notebook to hear them.*"
_LIST = "# Executed notebooks\n\nMade by `make gallery`.\n\n| notebook | first finding |\n|---|---|\n"
_AUDIO = re.compile(r"<audio\b.*?</audio\s*>|<audio\b[^>]*/>", re.DOTALL | re.IGNORECASE)
_EMBEDDED = re.compile(r"data:image/(?:png|jpeg);base64,([\w+/=\s]+)")
_PATH = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|var|work|mnt|media|opt|private)/[^\s\"'<>`,;)]*")


def gallery(
    run: str | Path, destination: str | Path | None = None, *, widths: Sequence[int] = WIDTHS, limit: int = LIMIT
) -> list[Path]:
    """Copy the executed notebooks of a finished run into the gallery, on the machine that made the run.

    ``README.md`` beside them lists every notebook with its question and its first finding.

    Parameters
    ----------
    run : str or Path
        Folder of the run, for example ``outputs/full``.
    destination : str, Path or None
        None: ``outputs/gallery``. Notebooks that are there already are replaced.
    widths : sequence of int > 0
        Wider figures are scaled down to the first of these numbers of pixels with which the gallery is not too large.
    limit : int > 0
        Largest size in bytes of all files together.

    Returns
    -------
    paths : list of Path
        The files that were written.

    Raises
    ------
    ValueError
        If a notebook has not been executed, failed or has been changed since, or if the gallery would be too large.
        Nothing is written then.

    Examples
    --------
    >>> gallery("outputs/full")  # doctest: +SKIP
    [PosixPath('outputs/gallery/00_index.ipynb'), ...]
    """
    run, destination = root() / run, root() / (destination or "outputs/gallery")
    records, executed, rows = manifests.read_records(run), {}, []
    for original in sorted((root() / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        path, record = run / "notebooks" / original.name, records.get(original.stem, {})
        if not (path.is_file() and record.get("finished")):
            raise ValueError(f"{original.name} has not been executed in {run.name}. Run: musictools rebuild first.")
        if code_cells(path) != code_cells(original) or list(parameters(path)) != list(parameters(original)):
            raise ValueError(f"{original.name} has been changed since it was executed. Run: musictools rebuild first.")
        executed[original.name] = json.loads(path.read_text(encoding="utf-8")), record
        rows.append(_row(original, record))
    for width in widths:
        texts = {
            name: json.dumps(_cleaned(notebook, record, run.name, width), indent=1, ensure_ascii=False)
            for name, (notebook, record) in executed.items()
        }
        texts["README.md"] = _LIST + "\n".join(rows)
        size = sum(len(text.encode()) for text in texts.values())
        if size <= limit:
            break
    else:
        raise ValueError(f"The gallery must not exceed {limit / 1e6:.1f} MB. Got {size / 1e6:.1f}.")
    destination.mkdir(parents=True, exist_ok=True)
    for path in destination.glob("*.ipynb"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        with atomic(destination / name) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return [destination / name for name in texts]


def code_cells(path: str | Path) -> list[str]:
    """Read the code of a notebook, without parameters: neither the notebook's own nor those that papermill injected.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    sources : list of str
        One text for each code cell.
    """
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    return [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code"
        and not {"parameters", "injected-parameters"} & set(cell["metadata"].get("tags", []))
    ]


def _row(path, record):
    """One row of the list: a notebook's title and its first finding."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = _text(cells[0]["source"]).splitlines()[0].lstrip("# ")
    finding = _without_paths(" ".join((record.get("said") or [""])[0].split()))
    return f"| [{title}]({path.name}) | {finding} |".replace("\\", "")


def _cleaned(notebook: dict, record: dict, profile: str, width: int) -> dict:
    """A notebook of the gallery: its origin first, small figures, no sounds, no paths of this machine."""
    date = notebook["metadata"].get("papermill", {}).get("end_time", "unknown date")[:10]
    origin = {"cell_type": "markdown", "metadata": {}, "source": _origin(record, profile, date, width)}
    cells = [origin | ({"id": "origin"} if notebook["nbformat_minor"] >= 5 else {})]
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        clean = cell | {"metadata": {"tags": tags} if tags else {}, "source": _without_paths(_text(cell["source"]))}
        if cell["cell_type"] == "code":
            outputs = [_output(output, width) for output in cell["outputs"]]
            clean |= {"outputs": [output for output in outputs if output]}
        cells.append(clean)
    kept = {
        name: notebook["metadata"][name] for name in ("kernelspec", "language_info") if name in notebook["metadata"]
    }
    return notebook | {"metadata": kept, "cells": cells}


def _origin(record, profile, date, width):
    commit = record.get("commit")
    return (
        f"*Executed with profile `{profile}` (parameters in `params/{profile}/`) at commit "
        f"{commit[:12] + commit[40:] if commit else 'unknown'} on {_processor()}, {record.get('device', 'CPU')}, "
        f"{date}. Figures are at most {width} pixels wide, sounds are left out.*"
    )


def _processor():
    """Name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _output(output: dict, width: int) -> dict | None:
    """An output without sounds, widgets and paths; None if it is a message to the one who ran the notebook."""
    if output["output_type"] == "stream":
        return None if output["name"] == "stderr" else output | {"text": _without_paths(_text(output["text"]))}
    if "data" not in output:
        return output
    data, silent = {}, any(kind.startswith("audio/") for kind in output["data"])
    for kind, content in output["data"].items():
        if kind in ("image/png", "image/jpeg"):
            data["image/png"] = _reduced(_text(content), width)
        elif kind == "text/html":
            text, sounds = _AUDIO.subn("", _text(content))
            silent = silent or sounds > 0
            text = _EMBEDDED.sub(lambda found: "data:image/png;base64," + _reduced(found[1], width), text)
            data[kind] = _without_paths(text)
        elif kind in ("text/plain", "text/markdown", "text/latex"):
            data[kind] = _without_paths(_text(content))
    if silent and "<table" not in data.get("text/html", "") and "<img" not in data.get("text/html", ""):
        data = {"text/markdown": _SILENT, "text/plain": _SILENT}
    elif silent:
        data["text/html"] += f"<p><em>{_SILENT.strip('*')}</em></p>"
    return output | {"data": data, "metadata": {}}


def _reduced(encoded: str, width: int) -> str:
    """A picture with a palette, at most so wide; the picture itself where that is smaller."""
    from PIL import Image

    original = base64.b64decode(encoded)
    picture = Image.open(io.BytesIO(original)).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    small = picture.width < width and len(buffer.getvalue()) > len(original) and original.startswith(b"\x89PNG")
    return base64.b64encode(original if small else buffer.getvalue()).decode()


def _without_paths(text: str) -> str:
    """A text without paths of this machine."""
    for path, name in ((root(), "."), (data_home(), "data"), (shared_data(), "data"), (tempfile.gettempdir(), "…")):
        if path:
            text = text.replace(f"{path}/", "" if name == "." else f"{name}/").replace(str(path), name)
    return _PATH.sub("…", text.replace(str(Path.home()), "~"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "".join(value)


def main() -> None:
    """Make the gallery of the profile that is named on the command line."""
    import sys

    (profile,) = sys.argv[1:]
    try:
        paths = gallery(root() / "outputs" / profile)
    except ValueError as error:
        raise SystemExit(f"gallery: {error}") from None
    print(f"{len(paths)} notebooks, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB in {paths[0].parent}")


if __name__ == "__main__":
    main()
