"""The report of a profile: one offline page that lays every published table beside the rebuilt one.

``report/index.html`` links to the executed notebooks as HTML. Nothing is loaded from the network.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musictools import html
from musictools.files import atomic

from . import manifests

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "write"]

SOURCES = {
    "rotheneder2023": ("Rotheneder 2023, master's thesis", "MagnaTagATune"),
    "sharma2022": ("Sharma 2022, “Why Pop?”", "FMA small"),
    "ren_poster": ("Ren, Moon and Guo, poster", "GTZAN"),
    "choi2018": (
        "Choi 2018, thesis chapter on music tagging",
        "the Million Song Dataset with Last.fm tags, in 7.2 songs of Naver Music",
    ),
    "tagger_slides": ("Evaluation of taggers, slides", "MagnaTagATune, MTG-Jamendo and others"),
}
_ROWS = 200


def write(folder: str | Path, *, outcome: dict | None = None, published_dir: str | Path | None = None) -> Path:
    """Write the report of an output folder.

    Parameters
    ----------
    folder : str or Path
        ``outputs/<profile>``.
    outcome : dict or None
        (state, detail) by notebook of the rebuild that just ended.
    published_dir : str, Path or None
        CSV files with the sources' own numbers, named as the tables; None: those of the package.

    Returns
    -------
    index : Path
        ``report/index.html``.

    See Also
    --------
    musictools.runs.rebuild : Runs the notebooks of a profile and writes the report.

    Examples
    --------
    >>> write("outputs/demo")  # doctest: +SKIP
    """
    folder, outcome = Path(folder), outcome or {}
    published_dir = Path(published_dir or manifests.PACKAGE / "published")
    published = {path.stem: path for path in sorted(published_dir.glob("*.csv"))}
    records = manifests.read_records(folder)
    writers = {
        Path(output).stem: name
        for name, record in records.items()
        for output in record["outputs"]
        if output.startswith("tables/") and output.endswith(".csv") and (folder / output).is_file()
    }
    notebooks = [_notebook(folder, name, records.get(name), outcome.get(name)) for name in sorted({*records, *outcome})]
    tables = [
        _table(folder, name, writers[name], records[writers[name]], published.get(name)) for name in sorted(writers)
    ]
    waiting = [_title(name) for name in published if name not in writers]
    return html.write(
        folder / "report" / "index.html",
        "report.html.jinja",
        title=f"musictools: {folder.name}",
        profile=folder.name,
        notebooks=notebooks,
        tables=tables,
        waiting=waiting,
    )


def compare(published: "pd.DataFrame", rebuilt: "pd.DataFrame") -> "pd.DataFrame | None":
    """Lay a published table and its rebuilt counterpart side by side.

    Rows are matched by the shared columns that hold no numbers, by the first of them where that matches more rows, and
    by the first column where all hold numbers; the k-th row with a key is matched with the k-th row with that key.

    Parameters
    ----------
    published, rebuilt : pd.DataFrame
        Tables with the same columns as far as they mean the same.

    Returns
    -------
    table : pd.DataFrame or None
        Columns (name, ``"published" | "rebuilt" | "difference"``), and (name, ``""``) for the keys; None when no number
        or no row is shared.

    Examples
    --------
    >>> published = pd.DataFrame({"model": ["ckn19"], "accuracy": [0.773]})
    >>> compare(published, pd.DataFrame({"model": ["ckn19"], "accuracy": [0.75]})).round(3).values.tolist()
    [['ckn19', 0.773, 0.75, -0.023]]
    """
    import pandas as pd

    shared = [column for column in published.columns if column in rebuilt.columns]
    numbers = [column for column in shared if _is_number(published[column]) and _is_number(rebuilt[column])]
    words = [column for column in shared if not _is_number(published[column]) and not _is_number(rebuilt[column])]
    candidates = [words, words[:1]] if words else [numbers[:1]]
    keys = max(candidates, key=lambda keys: _matches(published, rebuilt, keys))
    if not set(numbers) - set(keys) or not _matches(published, rebuilt, keys):
        return None
    sides = [_counted(table, keys) for table in (published, rebuilt)]
    order = pd.concat([side[[*keys, "_nth"]] for side in sides]).drop_duplicates()
    left, right = (order.merge(side, on=[*keys, "_nth"], how="left") for side in sides)
    columns = {(key, ""): left[key] for key in keys}
    for column in [*published.columns, *rebuilt.columns.difference(published.columns, sort=False)]:
        if column in keys:
            continue
        columns |= {(column, "published"): left[column]} if column in left else {}
        columns |= {(column, "rebuilt"): right[column]} if column in right else {}
        if column in numbers:
            columns[column, "difference"] = right[column] - left[column]
    return pd.DataFrame(columns)


def _counted(table, keys):
    """Number the rows with equal keys."""
    return table.assign(_nth=table.groupby(keys, dropna=False).cumcount())


def _matches(published, rebuilt, keys):
    """Return how many rows of the two tables share their keys."""
    if not keys:
        return 0
    return len(_counted(published, keys).merge(_counted(rebuilt, keys), on=[*keys, "_nth"]))


def _is_number(column):
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _notebook(folder, name, record, outcome):
    """What the report says about a notebook."""
    failed = outcome is not None and outcome[0] in ("failed", "not run")
    section = {
        "name": name,
        "page": _export(folder, name),
        "failure": ": ".join(outcome) if failed else "",
        "facts": "",
        "said": [],
        "outputs": [],
    }
    if record:
        facts = [_data(record), f"{record['seconds']:.0f} s", record.get("device"), f"files: {len(record['outputs'])}"]
        section |= {
            "facts": " · ".join(filter(None, facts)),
            "said": list(map(html.markdown, record["said"])),
            "outputs": [output.split("/", 1) for output in record["outputs"] if (folder / output).is_file()],
        }
    return section


def _table(folder, name, notebook, record, published):
    """What the report says about a table: its origin, and its cells or those of the comparison."""
    import pandas as pd

    rebuilt = pd.read_csv(folder / "tables" / f"{name}.csv")
    original = None if published is None else pd.read_csv(published)
    both = None if original is None else compare(original, rebuilt)
    source, source_data = SOURCES.get(_source(name), (_source(name), "the source's data"))
    return {
        "name": name,
        "title": _title(name),
        "notebook": notebook,
        "data": _data(record),
        "source": source,
        "source_data": source_data,
        "rebuilt": _grid(rebuilt),
        "published": _grid(original),
        "both": _grid(both),
    }


def _grid(table):
    """Cells of a DataFrame as text with their CSS classes; names in two levels make a head of two rows."""
    if table is None:
        return None
    groups, names, sides = [], list(table.columns), [""] * table.shape[1]
    if table.columns.nlevels == 2:
        above = [name for name, _ in table.columns]
        groups = [(name, above.count(name)) for name in dict.fromkeys(above)]
        names = sides = [side for _, side in table.columns]
    classes = [f"{side} {'n' * _is_number(table.iloc[:, k])}".strip() for k, side in enumerate(sides)]
    rows = [
        [(kind, _cell(value, side)) for value, kind, side in zip(values, classes, sides, strict=True)]
        for values in table.head(_ROWS).itertuples(index=False, name=None)
    ]
    return {"groups": groups, "columns": names, "rows": rows, "length": len(table)}


def _cell(value: Any, side: str) -> str:
    sign = "+" if side == "difference" else ""
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:{sign},.0f}" if value.is_integer() and value else f"{value:{sign}.4g}"
    return f"{value:+,}" if sign and isinstance(value, int) else str(value)


def _source(name):
    return next((key for key in SOURCES if name.startswith(key + "_")), name.split("_")[0])


def _title(name):
    """Return ``rotheneder2023_table_3_4_genre_performance`` as ``rotheneder2023 table 3.4: genre performance``."""
    rest = name.removeprefix(_source(name)).strip("_")
    number = re.match(r"((?:section_|figure_|table_)?(?:\d+(?:_\d+)*(?:_[ab](?=_))?|[ab]_\d+))(?:_|$)", rest)
    if not number or _source(name) not in SOURCES:
        return name.replace("_", " ")
    words = rest[number.end() :].replace("_", " ")
    where = re.sub(r"(?<=[\dab])_(?=[\dab])", ".", number[1]).replace("_", " ")
    where = re.sub(r"\.?\b[ab]\b", lambda letter: letter[0].replace(".", "-").upper(), where)
    return f"{_source(name)} {where}" + (f": {words}" if words else "")


def _data(record):
    """Say in words what data a notebook's results stand for."""
    names = list(record["data"]) or [name for name in [record["parameters"].get("dataset")] if name]
    return f"data: {', '.join(names)}" if names else "no data set recorded"


def _export(folder, name):
    """Write an executed notebook as a page beside the report; say whether there is one."""
    source = folder / "notebooks" / f"{name}.ipynb"
    if not source.is_file():
        return False
    page = folder / "report" / "notebooks" / f"{name}.html"
    if not (page.is_file() and page.stat().st_mtime_ns > source.stat().st_mtime_ns):
        with atomic(page) as temporary:
            temporary.write_text(html.notebook(source), encoding="utf-8")
    return True
