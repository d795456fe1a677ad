"""The sources' own numbers, one CSV a table, copied digit by digit.

File names are ``<source>_<number>_<name>.csv`` and equal the names of the tables that the notebooks write, so
that the report can lay the two side by side. Percentages are stored as fractions, counts as plain integers.
Nothing here is computed; whatever the suite computes goes to ``outputs/``.
"""

from importlib import resources

__all__ = ["names", "overview", "table"]


def names():
    """Names of all published tables.

    Returns
    -------
    names : list of str
        Sorted, without the ending, for example ``rotheneder2023_3_4_genre_performance``.
    """
    return sorted(p.name[:-4] for p in resources.files(__name__).iterdir() if p.name.endswith(".csv"))


def table(name):
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
    """
    import pandas as pd

    if name not in names():
        raise ValueError(f"No published table is called {name!r}. Known: {', '.join(names())}.")
    with (resources.files(__name__) / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def overview():
    """All published tables with their source and size.

    Returns
    -------
    overview : pd.DataFrame
        source, table, rows, columns.
    """
    import pandas as pd

    tables = [(name.split("_")[0] if not name.startswith(("ren_", "tagger_")) else "_".join(name.split("_")[:2]),
               name, *table(name).shape) for name in names()]
    return pd.DataFrame(tables, columns=["source", "table", "rows", "columns"])
