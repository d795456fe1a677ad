"""Tables that can be sorted and filtered: numbers with intervals, as text or as coloured cells."""

from __future__ import annotations

import dataclasses
from html import escape

import numpy as np
import pandas as pd

__all__ = ["Table", "arranged", "html"]

_SEQUENTIAL = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))  # light to dark blue
_DIVERGING = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))  # blue, white, red


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Numbers with what is needed to show them.

    Attributes
    ----------
    values : pd.DataFrame [float]
        The index names the rows.
    rows : str
        What a row is, such as "tag".
    low, high : pd.DataFrame or None
        Ends of the intervals, of some of the columns.
    marks : pd.DataFrame [bool] or None
        Cells that get a dot, of some of the rows and columns.
    categories : pd.Series [row -> category] or None
    scale : (float, float) or None
        Values of the lightest and of the darkest colour; if the first is negative, 0 is white and the ends are blue and
        red. None: cells are not coloured.
    note : str
        What the numbers are.
    """

    values: pd.DataFrame
    rows: str
    low: pd.DataFrame | None = None
    high: pd.DataFrame | None = None
    marks: pd.DataFrame | None = None
    categories: pd.Series | None = None
    scale: tuple[float, float] | None = None
    note: str = ""


def arranged(table: Table, *, by: str = "", ascending: bool = False, category: str = "") -> Table:
    """Sort and filter the rows.

    Parameters
    ----------
    table : Table
    by : str
        A column, or the name of the rows for their names; otherwise the order is left as it is.
    ascending : bool
        Cells without a number are last in both directions.
    category : str
        Only rows of this category; empty: all.

    Returns
    -------
    table : Table

    Examples
    --------
    >>> values = pd.DataFrame({"a": [0.5, 0.75, np.nan]}, ["drums", "flute", "calm"])
    >>> kinds = pd.Series(["instruments", "instruments", "mood"], values.index)
    >>> list(arranged(Table(values, "tag", categories=kinds), by="a").values.index)
    ['flute', 'drums', 'calm']
    >>> list(arranged(Table(values, "tag", categories=kinds), by="tag", ascending=True, category="mood").values.index)
    ['calm']
    """
    values = table.values
    if category and table.categories is not None:
        values = values[(table.categories.reindex(values.index) == category).to_numpy()]
    if by in values:
        values = values.sort_values(by, ascending=ascending, kind="stable")
    elif by == table.rows:
        values = values.sort_index(ascending=ascending, kind="stable", key=lambda names: names.str.lower())
    return dataclasses.replace(table, values=values)


def html(table: Table) -> str:
    """Write a table as HTML; names are escaped.

    Parameters
    ----------
    table : Table

    Returns
    -------
    html : str
    """
    values, coloured = table.values, table.scale is not None
    head = "".join(f'<th scope="col">{escape(str(name)).replace("_", "_<wbr/>")}</th>' for name in values)
    kinds = None if table.categories is None else table.categories.reindex(values.index)
    whole = {name for name in values if (values[name].dropna() % 1 == 0).all()}  # counts
    lines = []
    for place, name in enumerate(values.index):
        kind = "" if kinds is None else f'<td class="mt-kind">{escape(str(kinds.iloc[place]))}</td>'
        cells = "".join(_cell(table, name, column, column in whole) for column in values)
        lines.append(f'<tr><th scope="row">{escape(str(name))}</th>{kind}{cells}</tr>')
    first = f'<th scope="col">{escape(table.rows)}</th>' + (
        '<th scope="col">category</th>' if kinds is not None else ""
    )
    note = f'<p class="mt-note">{escape(table.note)}</p>' if table.note else ""
    if not lines:
        return f"{note}<p>No row is of this category.</p>"
    return (
        f'{note}<div class="mt-wide" tabindex="0" role="region" aria-label="Table, which can be scrolled">'
        f"<table{' class=mt-heat' if coloured else ''}><thead><tr>{first}{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(table, row, column, is_count):
    value = table.values.at[row, column]
    if pd.isna(value):
        return '<td class="n" title="no value">–</td>'
    text = f"{value:,.0f}" if is_count or abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    ends = [end.at[row, column] for end in (table.low, table.high) if _knows(end, row, column)]
    if len(ends) == 2:
        text += f" <small>{ends[0]:.3f} to {ends[1]:.3f}</small>"
    mark = "● " if _knows(table.marks, row, column) and table.marks.at[row, column] else ""
    return f'<td class="n"{_style(value, table.scale)}>{mark}{text}</td>'


def _knows(frame, row, column):
    return frame is not None and column in frame and row in frame.index and pd.notna(frame.at[row, column])


def _style(value, scale):
    """Background, and the text colour of the higher contrast to it (WCAG 2's relative luminance)."""
    if scale is None:
        return ""
    low, high = scale
    share = float(np.clip((value - low) / ((high - low) or 1), 0, 1))
    colours = np.array(_DIVERGING if low < 0 else _SEQUENTIAL, float)
    rgb = np.array([np.interp(share, np.linspace(0, 1, len(colours)), part) for part in colours.T])
    linear = np.where(rgb <= 10.3, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    text = "#fff" if linear @ (0.2126, 0.7152, 0.0722) < 0.179 else "#000"
    return f' style="background:rgb({",".join(f"{part:.0f}" for part in rgb)});color:{text}"'
