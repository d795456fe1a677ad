"""The report of a profile: what was answered, and every published table and figure beside the rebuilt one.

``report/index.html`` links to the executed notebooks as HTML. Nothing is loaded from the network.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musictools import html, published
from musictools.files import atomic

from . import manifests, notebook_index

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "write"]

_ROWS = 200  # of a table that a source has
_STATES = ("rebuilt", "not in this run", "not rebuilt")
_FEW_ROWS = 20  # of any other table; the CSV file has the rest


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
    records = manifests.read_records(folder)
    originals = _originals(published_dir)
    written = {
        kind: {
            Path(output).stem: name
            for name, record in records.items()
            for output in record["outputs"]
            if output.startswith(f"{kind}/") and Path(output).suffix == suffix and (folder / output).is_file()
        }
        for kind, suffix in (("tables", ".csv"), ("figures", ".png"))
    }
    names = sorted({*records, *outcome})
    tables = [
        _table(folder, name, records.get(written["tables"].get(name)), originals.get(name))
        for name in sorted({*written["tables"], *originals}, key=_place)
    ]
    return html.write(
        folder / "report" / "index.html",
        "report.html.jinja",
        title=f"musictools: {folder.name}",
        profile=folder.name,
        notebooks=[_notebook(folder, name, records.get(name), outcome.get(name)) for name in names],
        sources=_coverage(written, originals, records),
        tables=tables,
    )


def compare(original: "pd.DataFrame", rebuilt: "pd.DataFrame") -> "pd.DataFrame | None":
    """Lay a published table and its rebuilt counterpart side by side.

    Rows are matched by those shared columns of words and identifiers (`musictools.published.IDENTIFIERS`) that match
    most rows, or by the first column of numbers where there are no others; the k-th row with a key is matched with the
    k-th row with that key. Identifiers are never subtracted.

    Parameters
    ----------
    original, rebuilt : pd.DataFrame
        Tables with the same columns as far as they mean the same.

    Returns
    -------
    table : pd.DataFrame or None
        Columns (name, ``"published" | "rebuilt" | "difference"``), and (name, ``""``) for the keys; None when no number
        or no row is shared.

    Examples
    --------
    >>> original = pd.DataFrame({"model": ["ckn19"], "accuracy": [0.773]})
    >>> compare(original, pd.DataFrame({"model": ["ckn19"], "accuracy": [0.75]})).round(3).values.tolist()
    [['ckn19', 0.773, 0.75, -0.023]]
    """
    import pandas as pd

    shared = [column for column in original.columns if column in rebuilt.columns]
    numeric = [column for column in shared if _is_number(original[column]) and _is_number(rebuilt[column])]
    words = [column for column in shared if not _is_number(original[column]) and not _is_number(rebuilt[column])]
    identifiers = [column for column in numeric if column in published.IDENTIFIERS]
    numbers = [column for column in numeric if column not in identifiers]
    candidates = [words + identifiers, *(words + [column] for column in identifiers), words, words[:1]]
    candidates = candidates if words or identifiers else [numbers[:1]]
    keys = max(candidates, key=lambda keys: _matches(original, rebuilt, keys))
    if not set(numbers) - set(keys) or not _matches(original, rebuilt, keys):
        return None
    sides = [_counted(table, keys) for table in (original, rebuilt)]
    order = pd.concat([side[[*keys, "_nth"]] for side in sides]).drop_duplicates()
    left, right = (order.merge(side, on=[*keys, "_nth"], how="left") for side in sides)
    columns = {(key, ""): left[key] for key in keys}
    for column in [*original.columns, *rebuilt.columns.difference(original.columns, sort=False)]:
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


def _matches(original, rebuilt, keys):
    """Return how many rows of the two tables share their keys."""
    if not keys:
        return 0
    return len(_counted(original, keys).merge(_counted(rebuilt, keys), on=[*keys, "_nth"]))


def _is_number(column):
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _originals(published_dir):
    """Files of the published tables by name."""
    if published_dir is not None:
        return {path.stem: path for path in Path(published_dir).glob("*.csv")}
    return {name: manifests.PACKAGE / "published" / f"{name}.csv" for name in published.names()}


def _place(name):
    """Sort key: the order of the sources, 5.2 before 5.10."""
    keys = published.coverage()["key"]
    return next((k for k, key in enumerate(keys) if _belongs(name, key)), len(keys)), _natural(name)


def _belongs(name, key):
    return name == key or name.startswith(f"{key}_")


def _natural(text):
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", text)]


def _coverage(written, originals, records):
    """For each source its tables and figures in its own order, each with what there is of it."""
    sources = {key: {"title": title, "data": data, "rows": []} for key, (title, data) in published.SOURCES.items()}
    for key, label, title, notebook, why in published.coverage().itertuples(index=False, name=None):
        tables, figures = (sorted(n for n in written[kind] if _belongs(n, key)) for kind in ("tables", "figures"))
        writers = [written["tables"][name] for name in tables] + [written["figures"][name] for name in figures]
        if writers:
            state = "rebuilt"
        else:
            state = "not in this run" if notebook else "not rebuilt"
        sources[published.source(f"{key}_")]["rows"].append(
            {
                "label": label,
                "title": title,
                "state": state,
                "why": why,
                "notebook": writers[0] if writers else notebook,
                "data": _data(records[writers[0]]) if writers else "",
                "tables": tables or sorted(name for name in originals if _belongs(name, key)),
                "figures": figures,
            }
        )
    for source in sources.values():
        states = [row["state"] for row in source["rows"]]
        source["counts"] = [(state, states.count(state)) for state in _STATES if state in states]
    return list(sources.values())


def _notebook(folder, name, record, outcome):
    """What the report says about a notebook."""
    failed = outcome is not None and outcome[0] in ("failed", "not run")
    section = {
        "name": name,
        "question": notebook_index.question(folder / "notebooks" / f"{name}.ipynb"),
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


def _table(folder, name, record, original):
    """What the report says about a table: its origin, and its cells or those of the comparison."""
    import pandas as pd

    rebuilt = None if record is None else pd.read_csv(folder / "tables" / f"{name}.csv")
    theirs = None if original is None else pd.read_csv(original)
    both = None if original is None or record is None else compare(theirs, rebuilt)
    source, source_data = published.SOURCES.get(published.source(name), ("the source", "its own data"))
    rows = _ROWS if published.source(name) else _FEW_ROWS
    return {
        "name": name,
        "title": _title(name),
        "notebook": record and record["notebook"],
        "data": _data(record) if record else "",
        "source": source,
        "source_data": source_data,
        "notes": published.notes(name),
        "rebuilt": _grid(rebuilt, rows),
        "published": _grid(theirs, rows),
        "both": _grid(both, rows),
    }


def _grid(table, rows=_ROWS):
    """Cells of a DataFrame as text with their CSS classes; names in two levels make a head of two rows."""
    if table is None:
        return None
    columns = [name if isinstance(name, tuple) else (name, "") for name in table.columns]
    above = [name for name, _ in columns]
    two_levels = table.columns.nlevels == 2
    classes = [f"{side} {'n' * _is_number(table.iloc[:, k])}".strip() for k, (_, side) in enumerate(columns)]
    cells = [
        [
            (kind, _cell(value, signed=side == "difference", identifier=name in published.IDENTIFIERS))
            for value, kind, (name, side) in zip(values, classes, columns, strict=True)
        ]
        for values in table.head(rows).itertuples(index=False, name=None)
    ]
    return {
        "groups": [(name, above.count(name)) for name in dict.fromkeys(above)] if two_levels else [],
        "columns": [side for _, side in columns] if two_levels else above,
        "rows": cells,
        "length": len(table),
    }


def _cell(value: Any, *, signed: bool = False, identifier: bool = False) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not value:
        return "0"
    sign, comma = "+" if signed else "", "" if identifier else ","
    return f"{value:{sign}{comma}.0f}" if float(value).is_integer() else f"{value:{sign}.4g}"


def _title(name):
    """Return ``rotheneder2023_table_3_4_genre_performance`` as ``rotheneder2023 table 3.4: genre performance``."""
    source = published.source(name)
    rest = name.removeprefix(f"{source}_")
    number = re.match(r"((?:section_|figure_|table_)?(?:\d+(?:_\d+)*(?:_[ab](?=_))?|[ab]_\d+))(?:_|$)", rest)
    if not number or not source:
        return name.replace("_", " ")
    words = rest[number.end() :].replace("_", " ")
    where = re.sub(r"(?<=[\dab])_(?=[\dab])", ".", number[1]).replace("_", " ")
    where = re.sub(r"\.?\b[ab]\b", lambda letter: letter[0].replace(".", "-").upper(), where)
    return f"{source} {where}" + (f": {words}" if words else "")


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
    mark = f"<!-- {manifests.file_digest(source)} -->\n"  # times of files tell nothing once a clock was changed
    if not (page.is_file() and page.read_text(encoding="utf-8", errors="replace").endswith(mark)):
        with atomic(page) as temporary:
            temporary.write_text(f"{html.notebook(source)}\n{mark}", encoding="utf-8")
    return True
