"""Tasks for features: a target for every clip, groups that stay together, and folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["PARTS", "Split", "Task"]

PARTS = ("train", "validation", "test")


class Split(NamedTuple):
    """Rows to learn from and rows to measure on.

    Parameters
    ----------
    train, test : np.ndarray [int]
        Rows.
    inner : list of (np.ndarray, np.ndarray)
        Pairs of rows of `train` on which a machine is chosen.
    """

    train: np.ndarray
    test: np.ndarray
    inner: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Task:
    """A target for every clip.

    Parameters
    ----------
    name : str
    target : pd.Series [clip id -> class or number]
        Floats make a regression, anything else a classification.
    groups : pd.Series [clip id -> group] or None
        Clips of one group, such as an artist, are never in training and test at once.
    parts : pd.Series [clip id -> part] or None
        Given parts instead of drawn folds: ``"train"``, ``"validation"`` and ``"test"``, or one number per fold.
        Groups then only serve the intervals of scores.

    Raises
    ------
    ValueError
        If the clips of the series differ, or a value is missing.

    Examples
    --------
    >>> target = pd.Series(["waltz", "tango"] * 6)
    >>> task = Task("dance", target, groups=pd.Series(np.repeat(["Ann", "Ben", "Cem"], 4)))
    >>> task.is_regression, [len(split.test) for split in task.splits(n_folds=3, inner_folds=2)]
    (False, [4, 4, 4])
    """

    name: str
    target: pd.Series
    groups: pd.Series | None = None
    parts: pd.Series | None = None

    def __post_init__(self):
        for name in ("target", "groups", "parts"):
            values = getattr(self, name)
            if values is None:
                continue
            if not values.index.equals(self.target.index):
                raise ValueError(f"{self.name}: {name} must have the clips of target, in the same order.")
            if values.isna().any():
                raise ValueError(f"{self.name}: {name} has no value for clip {values.index[values.isna()][0]!r}.")
        if self.parts is not None and self.parts.dtype.kind not in "iu" and set(self.parts) != set(PARTS):
            raise ValueError(f"{self.name}: parts must be {', '.join(PARTS)}, or numbers of folds. "
                             f"Got {', '.join(map(str, sorted(set(self.parts))))}.")  # fmt: skip

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number."""
        return pd.api.types.is_float_dtype(self.target)

    @property
    def ids(self) -> pd.Index:
        """The clips."""
        return self.target.index

    def __len__(self):
        return len(self.target)

    def splits(self, *, n_folds: int = 10, inner_folds: int = 3, shuffle: bool = True, seed: int = 0) -> list[Split]:
        """Divide the clips.

        Parameters
        ----------
        n_folds : int > 1
            Number of folds, stratified by class. Given parts override it.
        inner_folds : int > 1
            Number of folds of each training part, on which a machine is chosen.
        shuffle : bool
            Draw the folds. Otherwise each takes a stretch of the clips of a class, in their order.
        seed : int >= 0
            Has no effect without `shuffle`.

        Returns
        -------
        splits : list of Split
            With the parts train, validation and test a single one: a machine is chosen on validation, then it learns
            from train and validation together.

        Raises
        ------
        ValueError
            If there are fewer groups or clips than folds.
        """
        if self.parts is not None and self.parts.dtype.kind not in "iu":
            train, validation, test = (np.flatnonzero(self.parts == part) for part in PARTS)
            return [Split(np.sort(np.concatenate([train, validation])), test, [(train, validation)])]
        rows = np.arange(len(self))
        if self.parts is not None:
            parts = self.parts.to_numpy()
            outer = [(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in np.unique(parts)]
            groups = parts  # a given fold stays whole in the inner folds
        else:
            groups = None if self.groups is None else self.groups.to_numpy()
            outer = self._folds(rows, groups, n_folds, seed if shuffle else None)
        return [Split(train, test, self._folds(train, groups, inner_folds, seed + 1 + k if shuffle else None))
                for k, (train, test) in enumerate(outer)]  # fmt: skip

    def _folds(self, rows, groups, n_folds, seed):
        from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

        units = len(rows) if groups is None else len(np.unique(groups[rows]))
        if not 2 <= n_folds <= units:
            raise ValueError(f"{self.name}: the number of folds must lie between 2 and the number of clips or groups, "
                             f"{units}. Got {n_folds}.")  # fmt: skip
        kinds = (KFold, GroupKFold) if self.is_regression else (StratifiedKFold, StratifiedGroupKFold)
        cut = kinds[groups is not None](n_folds, shuffle=seed is not None, random_state=seed)
        y = self.target.to_numpy()[rows]
        parts = cut.split(rows, y, None if groups is None else groups[rows])
        return [(rows[train], rows[test]) for train, test in parts]
