"""The index of notebooks, made from their first cells and from what they found."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from musictools.files import atomic
from musictools.runs import manifests
from musictools.runs.paths import root

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["describe", "index", "overview", "question", "refresh"]

_ROW = re.compile(r"^\|\s*\*\*(\w+)\*\*\s*\|\s*(.*?)\s*\|\s*$", re.MULTILINE)
_HEAD = ("Source", "Reads", "Produces", "Minutes")
_TITLE = re.compile(r"^#\s*(?:\d+\s*·\s*)?(.*)$", re.MULTILINE)


def index(output_dir: str | Path, *, notebooks_dir: Path | None = None) -> "pd.DataFrame":
    """List all notebooks with what their first cells say.

    Parameters
    ----------
    output_dir : str or Path
        A profile's folder, for the seconds of the last finished run.
    notebooks_dir : Path or None
        None: ``notebooks`` of the checkout.

    Returns
    -------
    index : pd.DataFrame
        notebook, question, source, reads, produces, minutes, last_run (seconds; NaN where there is none).

    Raises
    ------
    ValueError
        If a notebook's first cell lacks its title or one of the rows.

    Examples
    --------
    >>> index("outputs/demo")[["notebook", "question"]]  # doctest: +SKIP
    """
    import pandas as pd

    rows = []
    for path in sorted((notebooks_dir or root() / "notebooks").glob("*.ipynb")):
        record = manifests.read_record(output_dir, path.stem) or {}
        seconds = record.get("seconds") if record.get("finished") else None
        rows.append({"notebook": path.stem, **describe(path), "last_run": seconds})
    return pd.DataFrame(rows).astype({"last_run": float})


def describe(path: Path) -> dict[str, str]:
    """Read title and head table of one notebook.

    Parameters
    ----------
    path : Path

    Returns
    -------
    head : dict of str to str
        question, source, reads, produces, minutes.

    Raises
    ------
    ValueError
        If its first cell lacks the title or one of the rows.
    """
    text = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    title, rows = _TITLE.search(text), dict(_ROW.findall(text))
    missing = [name for name in _HEAD if name not in rows]
    if title is None or missing:
        raise ValueError(
            f"{path.name}: its first cell must hold a title and the rows {', '.join(_HEAD)}. "
            f"Missing: {', '.join(missing) or 'title'}."
        )
    return {"question": title.group(1).strip()} | {name.lower(): rows[name] for name in _HEAD}


def question(path: Path) -> str:
    """Title of one notebook without its number.

    Parameters
    ----------
    path : Path

    Returns
    -------
    question : str
        Empty where the file is missing or has no title.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    head = "\n".join("".join(cell["source"]) for cell in cells[:3])  # papermill puts a failure before the first cell
    title = _TITLE.search(head)
    return title.group(1).strip() if title else ""


def overview(output_dir: str | Path, *, notebooks_dir: Path | None = None) -> str:
    """Question and first finding of each notebook, as a table in Markdown.

    Parameters
    ----------
    output_dir : str or Path
        A profile's folder; its finished notebooks' first sentences are the findings.
    notebooks_dir : Path or None
        None: ``notebooks`` of the checkout.

    Returns
    -------
    table : str
    """
    rows = []
    for path in sorted((notebooks_dir or root() / "notebooks").glob("*.ipynb")):
        record = manifests.read_record(output_dir, path.stem) or {}
        finding = record["said"][0] if record.get("finished") and record["said"] else ""
        number = re.match(r"\d*", path.stem)[0] or path.stem
        rows.append((f"[{number}]({path.name})", describe(path)["question"], finding))
    columns = ("notebook", "question", "finding") if any(finding for *_, finding in rows) else ("notebook", "question")
    rows = [columns, ["---"] * len(columns), *(row[: len(columns)] for row in rows)]
    escaped = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def refresh(output_dir: str | Path, *, notebook: Path | None = None) -> Path:
    """Write the overview into notebook 00, so that it can be read without running anything.

    Parameters
    ----------
    output_dir : str or Path
        A profile's folder, best that of the profile ``full``.
    notebook : Path or None
        None: ``notebooks/00_index.ipynb`` of the checkout. The cell with the tag ``overview`` is replaced.

    Returns
    -------
    notebook : Path

    Examples
    --------
    >>> refresh("outputs/full")  # doctest: +SKIP
    """
    notebook = notebook or root() / "notebooks" / "00_index.ipynb"
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cell = next(cell for cell in content["cells"] if "overview" in cell["metadata"].get("tags", []))
    cell["source"] = overview(output_dir, notebooks_dir=notebook.parent).splitlines(keepends=True)
    with atomic(notebook) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return notebook
