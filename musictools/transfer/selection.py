"""A support vector machine is chosen from a grid and measured.

`nested` chooses on folds inside the training part, so that the measured clips play no role in the choice. `same_folds`
takes the best mean score of the grid over the folds that it is reported on, as a plain grid search does; it is
optimistic. `choi2018` says that the machines "are optimised using grid-search based on the validation results".
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from musictools import evaluation, runs
from musictools.transfer import machines
from musictools.transfer.features import FeatureSet, subset_name
from musictools.transfer.machines import Grid, Machine
from musictools.transfer.tasks import Task

__all__ = ["Outcome", "Screening", "compare", "difference", "nested", "same_folds"]


@dataclass(frozen=True)
class Screening:
    """A first round in which machines are dropped on part of the folds and clips, to save time.

    Parameters
    ----------
    n_folds : int > 0
        Folds of the first round.
    n_train : int > 0
        Training clips of each of these folds, at most.
    finalists : int > 0
        Machines that go on to all folds.
    """

    n_folds: int = 2
    n_train: int = 2000
    finalists: int = 3


@dataclass(frozen=True, eq=False)
class Outcome:
    """Predictions of clips that their machine did not learn from.

    Parameters
    ----------
    task : Task
    rows : np.ndarray [shape=(n,), int]
        Rows of the task that are predicted, each once.
    predicted : np.ndarray [shape=(n,)]
    chosen : list of Machine
        One for each fold.
    folds : list of float
        Score of each fold.
    """

    task: Task
    rows: np.ndarray
    predicted: np.ndarray
    chosen: list[Machine]
    folds: list[float] = field(default_factory=list)

    def score(self, chosen: np.ndarray | None = None) -> float:
        """Accuracy, or coefficient of determination, of all predictions together.

        Parameters
        ----------
        chosen : np.ndarray [int] or None
            Positions in `rows`, with repetition; None: all.

        Returns
        -------
        score : float
        """
        y, predicted = self.task.target.to_numpy()[self.rows], self.predicted
        if chosen is not None:
            y, predicted = y[chosen], predicted[chosen]
        return machines.score(y, predicted, regression=self.task.is_regression)

    @property
    def groups(self) -> np.ndarray:
        """Group of every prediction; each clip is its own where the task has no groups."""
        return self.rows if self.task.groups is None else self.task.groups.to_numpy()[self.rows]

    def interval(self, *, repeats: int = 500, seed: int = 0) -> evaluation.Interval:
        """Interval of the score by resampling groups.

        Parameters
        ----------
        repeats : int > 0
        seed : int >= 0

        Returns
        -------
        interval : Interval
            (low, high) of 95 %. The machines are not trained anew, so it lacks the spread of the training clips.
        """
        return evaluation.bootstrap(self.score, self.groups, repeats=repeats, seed=seed)


def nested(
    X: np.ndarray,
    task: Task,
    *,
    grid: Grid | None = None,
    n_folds: int = 10,
    inner_folds: int = 3,
    standardise: bool = True,
    seed: int = 0,
) -> Outcome:
    """Choose a machine inside each training part, and predict its test part.

    Parameters
    ----------
    X : np.ndarray [shape=(n, n_features)]
        Features of the task's clips, in its order.
    task : Task
    grid : Grid or None
        None: that of the source.
    n_folds, inner_folds : int > 1
        As in `Task.splits`.
    standardise : bool
        As in `machines.predict`.
    seed : int >= 0
        Seed of the folds.

    Returns
    -------
    outcome : Outcome

    Raises
    ------
    ValueError
        If features and task have another number of clips.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0.0, 1.0], 30)
    >>> task = Task("loud or not", pd.Series(np.where(y > 0, "loud", "soft")))
    >>> nested(rng.normal(3 * y[:, None], size=(60, 4)), task, grid=Grid(costs=(1.0,)), n_folds=3).score() > 0.9
    True
    """
    options, y, kinds = _prepared(X, task, grid, standardise)
    rows, predicted, chosen, scores = [], [], [], []
    for train, test, inner in task.splits(n_folds=n_folds, inner_folds=inner_folds, seed=seed):
        means = machines.grid_scores(X, y, inner, kinds, **options).mean(axis=1)
        best = kinds[_best(means)]
        (values,) = machines.predict(X, y, train, test, [best], **options)
        rows.append(test)
        predicted.append(values)
        chosen.append(best)
        scores.append(machines.score(y[test], values, regression=task.is_regression))
    return Outcome(task, np.concatenate(rows), np.concatenate(predicted), chosen, scores)


def same_folds(
    X: np.ndarray,
    task: Task,
    *,
    grid: Grid | None = None,
    n_folds: int = 10,
    standardise: bool = False,
    shuffle: bool = False,
    screening: Screening | None = None,
    seed: int = 0,
) -> Outcome:
    """Take the machine with the best mean score over the folds, and report it on them.

    Parameters
    ----------
    X : np.ndarray [shape=(n, n_features)]
        Features of the task's clips, in its order.
    task : Task
    grid : Grid or None
        None: that of the source.
    n_folds : int > 1
        As in `Task.splits`. With the parts train, validation and test, the test part is the only fold.
    standardise : bool
        As in `machines.predict`. The source does not mention any scaling, and its scores are met without it.
    shuffle : bool
        As in `Task.splits`. The source's scores are met without it.
    screening : Screening or None
        None: all machines are measured on all folds.
    seed : int >= 0
        Seed of the folds, if they are shuffled, and of the clips of the screening.

    Returns
    -------
    outcome : Outcome
        With one machine for all folds. The source's score is the mean of ``folds``.

    Raises
    ------
    ValueError
        If features and task have another number of clips.

    See Also
    --------
    nested : Chooses on other clips than it measures on.
    """
    options, y, kinds = _prepared(X, task, grid, standardise)
    folds = [
        (train, test) for train, test, _ in task.splits(n_folds=n_folds, inner_folds=2, shuffle=shuffle, seed=seed)
    ]
    if screening is not None and len(kinds) > screening.finalists:
        rng, first = np.random.default_rng(seed), folds[: screening.n_folds]
        first = [(np.sort(rng.permutation(train)[: screening.n_train]), test) for train, test in first]
        means = machines.grid_scores(X, y, first, kinds, **options).mean(axis=1)
        kinds = [kinds[k] for k in sorted(np.argsort(-means, kind="stable")[: screening.finalists])]
    predicted = [machines.predict(X, y, *fold, kinds, **options) for fold in folds]
    scores = np.array([[machines.score(y[test], row, regression=task.is_regression) for row in rows]
                       for rows, (_, test) in zip(predicted, folds, strict=True)])  # fmt: skip
    best = _best(scores.mean(axis=0))
    tests = np.concatenate([test for _, test in folds])
    return Outcome(task, tests, np.concatenate([rows[best] for rows in predicted]), [kinds[best]] * len(folds),
                   scores[:, best].tolist())  # fmt: skip


def compare(
    features: FeatureSet,
    task: Task,
    subsets: Sequence[Sequence[str]],
    *,
    grid: Grid | None = None,
    n_folds: int = 10,
    inner_folds: int = 3,
    standardise: bool = True,
    repeats: int = 500,
    seed: int = 0,
    workers: int = 1,
) -> tuple[pd.DataFrame, dict[str, Outcome]]:
    """Measure several subsets of features on one task by nested selection.

    Parameters
    ----------
    features : FeatureSet
    task : Task
        Its clips must have features.
    subsets : sequence of sequence of str
        Blocks of each subset.
    grid, n_folds, inner_folds, standardise
        As in `nested`. All subsets have the same folds.
    repeats : int > 0
        Bootstrap resamples.
    seed : int >= 0
        Seed of folds and resamples.
    workers : int > 0
        Processes.

    Returns
    -------
    table : pd.DataFrame
        features (name of the subset), size (number of features), score, low, high.
    outcomes : dict of str to Outcome
        By the name of the subset.

    See Also
    --------
    difference : Of two outcomes, with an interval.
    """
    features = features.take(task.ids)
    job = functools.partial(
        nested, task=task, grid=grid, n_folds=n_folds, inner_folds=inner_folds, standardise=standardise, seed=seed
    )
    matrices = [features.matrix(subset) for subset in subsets]
    done = runs.map(job, matrices, workers=workers, description=task.name)
    outcomes = dict(zip(map(subset_name, subsets), done, strict=True))
    rows = []
    for (name, outcome), X in zip(outcomes.items(), matrices, strict=True):
        low, high = outcome.interval(repeats=repeats, seed=seed)
        rows.append({"features": name, "size": X.shape[1], "score": outcome.score(), "low": low, "high": high})
    return pd.DataFrame(rows), outcomes


def difference(
    first: Outcome, second: Outcome, *, repeats: int = 500, seed: int = 0
) -> tuple[float, evaluation.Interval]:
    """By how much one outcome is better than another on the same clips.

    Parameters
    ----------
    first, second : Outcome
        Of one task with the same folds.
    repeats : int > 0
    seed : int >= 0

    Returns
    -------
    difference : float
        Score of the first less that of the second.
    interval : Interval
        From a paired bootstrap over groups.

    Raises
    ------
    ValueError
        If the outcomes are of different clips.
    """
    if not np.array_equal(first.rows, second.rows) or not first.task.ids.equals(second.task.ids):
        raise ValueError("Both outcomes must be of the same clips and folds.")

    def change(chosen):
        return first.score(chosen) - second.score(chosen)

    return first.score() - second.score(), evaluation.bootstrap(change, first.groups, repeats=repeats, seed=seed)


def _prepared(X, task, grid, standardise):
    if np.ndim(X) != 2 or len(X) != len(task):
        raise ValueError(f"X must have one row for each of the {len(task)} clips of {task.name}. "
                         f"Got shape {np.shape(X)}.")  # fmt: skip
    options = {"regression": task.is_regression, "standardise": standardise}
    return options, task.target.to_numpy(), (grid or Grid()).machines(X.shape[1])


def _best(means):
    """Position of the highest mean, the first of equal ones; NaN never wins."""
    return int(np.argmax(np.where(np.isnan(means), -np.inf, means)))
