"""The sources' own numbers, copied digit by digit.

Every table is one CSV file, ``<source>_<table, figure or section>_<number>_<name>.csv``. Notebooks write their tables
under the same names, so that the report can show the two side by side. Percentages are stored as fractions, counts as
plain integers. Nothing here is computed; whatever notebooks compute goes to ``outputs/``.

Further files hold what is not a table: ``<source>_prose.csv`` the numbers that a source states in its text,
``notes.csv`` misprints and contradictions, ``coverage.csv`` every table and figure of the sources.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IDENTIFIERS", "SOURCES", "coverage", "names", "notes", "number", "overview", "prose", "source", "table"]

# In the order of the report: key -> what the source is, and the data of its experiments.
SOURCES = {
    "rotheneder2023": ("Rotheneder 2023, master's thesis", "MagnaTagATune"),
    "sharma2022": ("Sharma 2022, “Why Pop?”", "FMA small"),
    "ren_poster": ("Ren, Moon and Guo, poster", "GTZAN"),
    "choi2018": (
        "Choi 2018, thesis on music tagging",
        "the Million Song Dataset with Last.fm tags, in 7.2 songs of Naver Music",
    ),
    "tagger_slides": ("Evaluation of taggers, slides", "MagnaTagATune, MTG-Jamendo and others"),
}

# Columns whose numbers name something. A difference of two of them means nothing.
IDENTIFIERS = frozenset({"feature", "feature_map", "fold", "id", "layer", "rank", "seed", "tags", "year"})


def names() -> list[str]:
    """Names of all published tables.

    Returns
    -------
    names : list of str
        Sorted, without the ending.

    Examples
    --------
    >>> names()[0]
    'choi2018_figure_6_3_ballroom'
    """
    files = [p.name[:-4] for p in resources.files(__name__).iterdir() if p.name.endswith(".csv")]
    return sorted(name for name in files if name not in ("coverage", "notes") and not name.endswith("_prose"))


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
    if name not in names():
        raise ValueError(f"No published table is called {name!r}. Known: {', '.join(names())}.")
    return _read(name)


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

    tables = [(source(name), name, *table(name).shape) for name in names()]
    return pd.DataFrame(tables, columns=["source", "table", "rows", "columns"])


def source(name: str) -> str:
    """Key of the source that a name begins with.

    Parameters
    ----------
    name : str
        Of a published table, or of a table or figure that a notebook writes.

    Returns
    -------
    source : str
        A key of `SOURCES`, or ``""`` for results that no source has.

    Examples
    --------
    >>> source("ren_poster_ways"), source("genre_counts")
    ('ren_poster', '')
    """
    return next((key for key in SOURCES if name.startswith(f"{key}_")), "")


def prose(source: str) -> pd.DataFrame:
    """Numbers that a source states in its text.

    Parameters
    ----------
    source : str
        A key of `SOURCES`.

    Returns
    -------
    prose : pd.DataFrame
        key, value, unit, section, quote (the words of the source).

    Raises
    ------
    ValueError
        If there is no such source.

    See Also
    --------
    number : One of the numbers.

    Examples
    --------
    >>> prose("rotheneder2023").set_index("key").at["svm_hours", "quote"]
    'estimate a runtime of 52 hours for Support Vector Machines'
    """
    if source not in SOURCES:
        raise ValueError(f"No source is called {source!r}. Known: {', '.join(SOURCES)}.")
    return _read(f"{source}_prose", dtype={"value": str, "section": str}, keep_default_na=False)


def number(source: str, key: str) -> int | float:
    """A number that a source states in its text.

    Parameters
    ----------
    source : str
        A key of `SOURCES`.
    key : str
        One of the keys of `prose`.

    Returns
    -------
    number : int or float
        Percentages as fractions.

    Raises
    ------
    ValueError
        If there is no such source or key.

    Examples
    --------
    >>> number("rotheneder2023", "clips_with_one_genre"), number("rotheneder2023", "mapping_accuracy")
    (12310, 0.809)
    """
    values = _numbers(source)
    if key not in values:
        raise ValueError(f"{source} states no number that is called {key!r}. Known: {', '.join(values)}.")
    return values[key]


def notes(name: str) -> list[str]:
    """Misprints and contradictions of a published table.

    Parameters
    ----------
    name : str
        One of `names`, or the name of a table that is published as a picture.

    Returns
    -------
    notes : list of str

    Examples
    --------
    >>> len(notes("tagger_slides_table_1_mtat"))
    2
    """
    listed = _read("notes")
    return listed["note"][listed["table"] == name].tolist()


def coverage() -> pd.DataFrame:
    """Every table and figure of the sources, in their own order.

    Returns
    -------
    coverage : pd.DataFrame
        key (what the names of its tables and figures in the output folder begin with), label, title, notebook (which
        rebuilds it; empty where none does), why (it is not rebuilt, or differs).

    Examples
    --------
    >>> coverage().set_index("key").at["rotheneder2023_table_5_19", "notebook"]
    '04_map_descriptors_to_genres'
    """
    return _read("coverage", keep_default_na=False)


@functools.cache
def _numbers(source):
    pairs = prose(source)[["key", "value"]].itertuples(index=False, name=None)
    return {key: float(value) if "." in value else int(value) for key, value in pairs}


def _read(name, **options):
    import pandas as pd

    with (resources.files(__name__) / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, **options)
