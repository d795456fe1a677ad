"""Checking labels by listening: which clips to listen to, and the answers, which are kept in a CSV file.

Nothing is drawn or played here; `musictools.explorer.annotator` asks the questions in a notebook. Whoever answers is
not told the label, and positive and negative labels come in random order (`choi2018` 3.2.2, Subset100).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musictools import files

__all__ = ["ANSWERS", "Session", "questions"]

ANSWERS = ("yes", "no", "unsure")
_COLUMNS = ["clip", "tag", "answer"]


def questions(labels: pd.DataFrame, *, tags: Sequence[str], per_label: int = 50, seed: int = 0) -> pd.DataFrame:
    """Choose clips with and without each label.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]
    tags : sequence of str
        Tags to ask for, one after the other.
    per_label : int > 0
        Number of clips with the label, and of clips without it; fewer where there are fewer.
    seed : int >= 0

    Returns
    -------
    questions : pd.DataFrame
        clip, tag; the clips of a tag in random order.

    Raises
    ------
    ValueError
        If a tag is unknown or `per_label` is not positive.

    Examples
    --------
    >>> labels = pd.DataFrame({"guitar": [True, True, False]}, index=["a", "b", "c"])
    >>> sorted(questions(labels, tags=["guitar"], per_label=1)["clip"])[-1]
    'c'
    """
    if per_label < 1:
        raise ValueError(f"per_label must be a positive int. Got {per_label}.")
    if unknown := [tag for tag in tags if tag not in labels]:
        raise ValueError(f"There is no tag {unknown[0]!r} among the labels.")
    rng, rows = np.random.default_rng(seed), []
    for tag in tags:
        y = labels[tag].to_numpy()
        chosen = [rng.permutation(np.flatnonzero(y == value))[:per_label] for value in (True, False)]
        rows += [(labels.index[row], tag) for row in rng.permutation(np.concatenate(chosen))]
    return pd.DataFrame(rows, columns=_COLUMNS[:2])


class Session:
    """Answers to questions whether tags are true of clips. Every answer is written to a file at once.

    A session that is opened with the same file continues where the last one ended.

    Parameters
    ----------
    path : str or Path
        CSV file with the columns clip, tag, answer. It need not exist.
    questions : pd.DataFrame
        clip, tag; as `questions` gives them.

    Raises
    ------
    ValueError
        If the file is no such table.

    Examples
    --------
    >>> import tempfile
    >>> asked = pd.DataFrame({"clip": ["a", "b"], "tag": "guitar"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     session = Session(Path(folder) / "answers.csv", asked)
    ...     session.answer("yes")
    ...     Session(Path(folder) / "answers.csv", asked).current
    ('b', 'guitar')
    """

    def __init__(self, path: str | Path, questions: pd.DataFrame):
        self.path = Path(path)
        self._asked = list(questions[["clip", "tag"]].itertuples(index=False, name=None))
        self._given = _read(self.path) if self.path.is_file() else {}  # in the order in which they were given
        self._history = [place for place, key in enumerate(map(_key, self._asked)) if key in self._given]

    @property
    def current(self) -> tuple[Any, str] | None:
        """Clip and tag of the next question without an answer; None: there is none left."""
        return next((asked for asked in self._asked if _key(asked) not in self._given), None)

    @property
    def progress(self) -> tuple[int, int]:
        """Number of answers, and of questions."""
        return sum(_key(asked) in self._given for asked in self._asked), len(self._asked)

    def answer(self, answer: str) -> None:
        """Answer the current question and write the file.

        Parameters
        ----------
        answer : {"yes", "no", "unsure"}

        Raises
        ------
        ValueError
            If the answer is another one, or no question is left.
        """
        if answer not in ANSWERS:
            raise ValueError(f"answer must be one of {', '.join(ANSWERS)}. Got {answer!r}.")
        if self.current is None:
            raise ValueError("All questions have been answered.")
        place = self._asked.index(self.current)
        self._given[_key(self._asked[place])] = answer
        self._history.append(place)
        self._write()

    def back(self) -> None:
        """Take back the last answer, so that its question is asked again; nothing if there is none."""
        if self._history:
            self._given.pop(_key(self._asked[self._history.pop()]), None)
            self._write()

    def table(self) -> pd.DataFrame:
        """Answers to the questions of this session.

        Returns
        -------
        table : pd.DataFrame
            clip, tag, answer; in the order of the questions.
        """
        rows = [(*asked, self._given[_key(asked)]) for asked in self._asked if _key(asked) in self._given]
        return pd.DataFrame(rows, columns=_COLUMNS)

    def _write(self):
        rows = [(*key, answer) for key, answer in self._given.items()]
        with files.atomic(self.path) as temporary:
            pd.DataFrame(rows, columns=_COLUMNS).to_csv(temporary, index=False, lineterminator="\n")


def _key(asked):
    clip, tag = asked
    return str(clip), tag  # a file holds text


def _read(path):
    table = files.read_table(path, kind="a table of answers", dtype=str, keep_default_na=False)
    if list(table) != _COLUMNS or not table["answer"].isin(ANSWERS).all():
        raise ValueError(f"{path}: must have the columns {', '.join(_COLUMNS)} and the answers {', '.join(ANSWERS)}.")
    return {(row.clip, row.tag): row.answer for row in table.itertuples()}
