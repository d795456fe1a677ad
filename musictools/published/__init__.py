"""The sources' own numbers, one CSV file per table, copied digit by digit.

File names are ``<source>_<number>_<name>.csv`` and equal the names of the tables that the notebooks write, so
that the report can lay the two side by side. Percentages are stored as fractions, counts as plain integers.
Nothing here is computed; whatever notebooks compute goes to ``outputs/``.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["names", "overview", "table"]


def names() -> list[str]:
    """Names of all published tables.

    Returns
    -------
    names : list of str
        Sorted, without the ending.

    Examples
    --------
    >>> names()[0]
    'choi2018_table_7_a_effective_kernel_sizes'
    """
    return sorted(p.name[:-4] for p in resources.files(__name__).iterdir() if p.name.endswith(".csv"))


def table(name: str) -> pd.DataFrame:
    """Read one published table.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    table : pd.DataFrame
        As printed in the source; empty cells are empty strings in text columns and NaN in numeric ones.

    Raises
    ------
    ValueError
        If there is no such table.

    Examples
    --------
    >>> table("rotheneder2023_table_4_3_selected_models").shape[0] > 0
    True
    """
    import pandas as pd

    if name not in names():
        raise ValueError(f"No published table is called {name!r}. Known: {', '.join(names())}.")
    with (resources.files(__name__) / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def overview() -> pd.DataFrame:
    """All published tables with their source and size.

    Returns
    -------
    overview : pd.DataFrame
        source, table, rows, columns.

    See Also
    --------
    table : One of the tables.

    Examples
    --------
    >>> overview().query("source == 'tagger_slides'")["table"].str.startswith("tagger_slides_").all()
    np.True_
    """
    import pandas as pd

    tables = [
        (
            name.split("_")[0] if not name.startswith(("ren_", "tagger_")) else "_".join(name.split("_")[:2]),
            name,
            *table(name).shape,
        )
        for name in names()
    ]
    return pd.DataFrame(tables, columns=["source", "table", "rows", "columns"])
