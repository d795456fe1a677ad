"""How good a profile's taggers are on its data set: the tables that notebooks 03 and 15 have written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import tags
from musictools.explorer.tables import Table
from musictools.explorer.work import ExplorerError
from musictools.runs.paths import from_root

__all__ = ["available", "missing", "read"]

_LABELS = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "average_precision": "average precision",
    "mcc": "MCC",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "macro_precision": "precision, mean of tags",
    "macro_recall": "recall, mean of tags",
    "micro_precision": "precision, all tags",
    "micro_recall": "recall, all tags",
    "average_tags": "tags per clip",
    "tags": "tags",
    "seen": "ROC-AUC, known artists",
    "unseen": "ROC-AUC, new artists",
    "parameters": "parameters",
    "train_seconds": "training (s)",
    "clips_per_second": "clips per second",
}


@dataclass(frozen=True)
class _Result:
    title: str
    notebook: str
    file: str
    make: Callable[[pd.DataFrame], Table]


def available(folder: str | Path) -> dict[str, str]:
    """Name the results that a profile has.

    Parameters
    ----------
    folder : str or Path
        Of the profile, such as ``outputs/demo``.

    Returns
    -------
    titles : dict of str to str
        Key for `read` -> title.

    Examples
    --------
    >>> available("no such folder")
    {}
    """
    place = from_root(folder) / "tables"
    return {
        key: f"{one.title} (notebook {one.notebook})"
        for key, one in _RESULTS.items()
        if (place / f"{one.file}.csv").is_file()
    }


def missing(folder: str | Path) -> str:
    """Say which results are not there, and how to make them; empty if all are.

    Parameters
    ----------
    folder : str or Path
        Of the profile.

    Returns
    -------
    sentence : str

    Examples
    --------
    >>> missing("outputs/none").partition(" yet. ")[0]
    'The profile none has no results of notebooks 03 and 15'
    """
    here, profile = available(folder), Path(folder).name
    absent = [number for number in ("03", "15") if not any(f"(notebook {number})" in title for title in here.values())]
    if not absent:
        return ""
    notebooks = " and ".join(absent)
    return (
        f"The profile {profile} has no results of notebook{'s' * (len(absent) > 1)} {notebooks} yet. "
        f"Make them: musictools rebuild --profile {profile} --only {' '.join(absent)}"
    )


def read(folder: str | Path, key: str) -> Table:
    """Read a result.

    Parameters
    ----------
    folder : str or Path
        Of the profile.
    key : str
        One of `available`.

    Returns
    -------
    table : Table

    Raises
    ------
    ExplorerError
        If the table is missing or damaged.
    """
    result = _RESULTS[key]
    path = from_root(folder) / "tables" / f"{result.file}.csv"
    try:
        return result.make(pd.read_csv(path))
    except (OSError, ValueError, KeyError, TypeError) as error:  # pandas' own errors are ValueErrors
        raise ExplorerError(
            f"The table {result.file} cannot be read ({type(error).__name__}). Run notebook {result.notebook} again: "
            f"musictools rebuild --profile {Path(folder).name} --only {result.notebook} --force"
        ) from None


def _by_model(note, *, only=None):
    """A row for each tagger, a column for each measure that has a label."""

    def make(table):
        if only is not None:
            table = table[(table[list(only)] == pd.Series(only)).all(axis=1)]
        table = table.set_index("model")
        columns = {name: label for name, label in _LABELS.items() if name in table}
        ends = [
            table[[f"{name}_{end}" for name in columns if f"{name}_{end}" in table]].rename(
                columns=lambda name, end=end: columns[name.removesuffix(f"_{end}")]
            )
            for end in ("low", "high")
        ]
        return Table(table[list(columns)].rename(columns=columns).astype(float), "tagger", *ends, note=note)

    return make


def _by_tag(table):
    values = table.set_index("model").T.astype(float)
    order = [*tags.CATEGORIES, "mood and style"]
    kinds = pd.Series({tag: tags.category(tag) for tag in values.index})
    values = values.loc[sorted(values.index, key=lambda tag: (order.index(kinds[tag]), tag))]
    note = (
        "ROC-AUC of every tag on the held-out clips; 0.5 is chance. No value: all of these clips have the tag, or none."
    )
    return Table(values, "tag", categories=kinds, scale=(0.5, 1.0), note=note)


def _by_category(table):
    values = table.set_index("model").T.astype(float)
    return Table(values, "category", scale=(0.5, 1.0), note="Mean ROC-AUC of the tags of each category.")


def _by_deformation(value, note, *, scale=None):
    """A row for each deformation, a column for each tagger."""

    def make(table):
        rows, columns = table["deformation"].unique(), table["model"].unique()
        parts = {
            name: table.pivot(index="deformation", columns="model", values=name).loc[rows, columns].astype(float)
            for name in (value, f"{value}_low", f"{value}_high")
            if name in table
        }
        for part in parts.values():
            part.columns.name = None
        values = parts[value]
        if scale is None:  # signed
            values = values.drop(index="none", errors="ignore")
            end = float(np.nanmax(np.abs(values.to_numpy()), initial=0.0)) or 1.0
        ends = parts.get(f"{value}_low"), parts.get(f"{value}_high")
        return Table(values, "deformation", *ends, scale=scale or (-end, end), note=note)

    return make


_MEAN = "Held-out clips, which no tagger learnt from; a clip's score is the mean of its segments' scores."
_SLIDES = "The slides' protocol: their tag set, split by folders, and measures."
_RESULTS = {
    "roc_auc": _Result(
        "ROC-AUC with 95 % intervals", "03", "tagger_roc_auc", _by_model(f"{_MEAN} Intervals: bootstrap over artists.")
    ),
    "measures": _Result("All measures", "03", "tagger_clip_level", _by_model(_MEAN, only={"clips": "all"})),
    "tags": _Result("ROC-AUC by tag", "03", "tagger_tags_roc_auc", _by_tag),
    "categories": _Result("ROC-AUC by category", "03", "tagger_categories_roc_auc", _by_category),
    "union": _Result(
        "The thesis' table 5.18",
        "03",
        "rotheneder2023_table_5_18_comparison",
        _by_model("A clip has a tag if it is predicted for any of its segments."),
    ),
    "segments": _Result(
        "Segments", "03", "tagger_frame_level", _by_model("Scores of single segments of the test clips.")
    ),
    "slides_1": _Result("The slides' table I", "03", "tagger_slides_table_1_mtat", _by_model(_SLIDES)),
    "slides_2": _Result("The slides' table II", "03", "tagger_slides_table_2_msd", _by_model(_SLIDES)),
    "slides_3": _Result("The slides' table III", "03", "tagger_slides_table_3_mtg", _by_model(_SLIDES)),
    "costs": _Result("Size and speed", "03", "tagger_costs", _by_model("Measured on the machine that trained them.")),
    "drop": _Result(
        "Loss of ROC-AUC by deformations",
        "15",
        "robustness_scores",
        _by_deformation("drop", "Loss against the clips as they are, with 95 % intervals; red: the tagger gets worse."),
    ),
    "deformed": _Result(
        "ROC-AUC after deformations",
        "15",
        "robustness_scores",
        _by_deformation("roc_auc", "With 95 % intervals; none: the clips as they are.", scale=(0.5, 1.0)),
    ),
    "kept": _Result(
        "Tags that stay after deformations",
        "15",
        "robustness_tags",
        _by_deformation(
            "top", "Share of a clip's five highest tags that stay among the five highest.", scale=(0.0, 1.0)
        ),
    ),
}
