"""Experiments of notebook 04: grid search, comparison with other classifiers, calibration, predicted descriptors.

Every training is a `MappingTask`, which `jobs.run` executes, so that the grid search, the comparison and the
cross-validation share one runner: they resume, and finished fits are read from the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, NonNegativeInt, model_validator
from pydantic.dataclasses import dataclass

from musictools.datasets import splits
from musictools.experiments import jobs
from musictools.experiments.membership_scores import affiliation, calibration, scores
from musictools.mapping.network import DescriptorNetwork

__all__ = [
    "CLASSIFIERS",
    "MappingResult",
    "MappingTask",
    "affiliation",
    "calibration",
    "classifier",
    "compare",
    "grid_search",
    "out_of_fold",
    "scores",
]

CLASSIFIERS = ("network", "logistic regression", "naive Bayes", "decision tree", "commonest genre")
_TABLES = ConfigDict(arbitrary_types_allowed=True)


def classifier(name: str, *, seed: int = 0, leaves: int = 40, **options: Any) -> Any:
    """Make an untrained classifier by name: the mapping network or one of its baselines.

    Parameters
    ----------
    name : str
        One of `CLASSIFIERS`.
    seed : int >= 0
        Seed of the network and of the decision tree.
    leaves : int > 1
        Maximum number of leaves of the decision tree.
    **options
        Parameters of `DescriptorNetwork`; the baselines ignore them.

    Returns
    -------
    classifier : scikit-learn classifier with predict_proba

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> classifier("decision tree", leaves=12).get_params()["max_leaf_nodes"]
    12
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import BernoulliNB
    from sklearn.tree import DecisionTreeClassifier

    makers = {
        "network": lambda: DescriptorNetwork(seed=seed, **options),
        "logistic regression": lambda: LogisticRegression(max_iter=1000),
        "naive Bayes": BernoulliNB,
        "decision tree": lambda: DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=seed),
        "commonest genre": lambda: DummyClassifier(strategy="prior"),
    }
    if name not in makers:
        raise ValueError(f"name must be one of {', '.join(makers)}. Got {name!r}.")
    return makers[name]()


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class MappingTask:
    """A classifier that is trained anew on every one of several divisions of the clips; a task for `jobs.run`.

    Parameters
    ----------
    classifier : str
        One of `CLASSIFIERS`.
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : pd.Series [clip id -> genre]
    divisions : sequence of (clip ids, clip ids)
        Clips to train with and clips to test with.
    seed : int >= 0
        Seed of the classifier.
    options : dict
        Other arguments of `classifier`.

    Raises
    ------
    ValueError
        If the classifier is unknown, there are no divisions, a division trains with clips that it tests, or a clip has
        no descriptors or no genre.
    """

    classifier: str
    descriptors: pd.DataFrame
    genres: pd.Series
    divisions: Sequence[tuple[pd.Index, pd.Index]]
    seed: NonNegativeInt = 0
    options: dict[str, Any] = field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self):
        if self.classifier not in CLASSIFIERS:
            raise ValueError(f"classifier must be one of {', '.join(CLASSIFIERS)}. Got {self.classifier!r}.")
        if not self.divisions:
            raise ValueError("divisions must hold at least one pair of training and test clips. Got none.")
        known = self.descriptors.index.intersection(self.genres.index)
        for train, test in self.divisions:
            if both := train.intersection(test).tolist():
                raise ValueError(f"Clip {both[0]!r} is in the training and the test clips.")
            if missing := train.append(test).difference(known).tolist():
                raise ValueError(f"{len(missing)} clips have no descriptors or no genre, such as {missing[0]!r}.")
        return self

    @property
    def name(self) -> str:
        """Name of the task's files."""
        return f"mapping-{self.classifier.replace(' ', '_')}-{self.seed}"

    @property
    def key(self) -> tuple:
        """Everything that the result depends on, in plain values: the key of the cache."""
        divisions = [[jobs.checksum(clips.to_series()) for clips in division] for division in self.divisions]
        data = [list(self.descriptors.columns), jobs.checksum(self.descriptors), jobs.checksum(self.genres)]
        return (self.classifier, self.seed, sorted(self.options.items()), *data, divisions)

    def train(self, folder: Path | None = None) -> MappingResult:
        """Train on every division and predict its test clips.

        Parameters
        ----------
        folder : Path or None
            Not used: these trainings take seconds, so that only whole results are kept.

        Returns
        -------
        result : MappingResult
        """
        memberships = []
        for train, test in self.divisions:
            fitted = classifier(self.classifier, seed=self.seed, **self.options)
            fitted.fit(self.descriptors.loc[train].to_numpy(), self.genres[train].to_numpy())
            degrees = fitted.predict_proba(self.descriptors.loc[test].to_numpy())
            memberships.append(pd.DataFrame(degrees, index=test, columns=fitted.classes_))
        return MappingResult(classifier=self.classifier, memberships=tuple(memberships))


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class MappingResult:
    """Membership degrees of the test clips of a `MappingTask`.

    Parameters
    ----------
    classifier : str
        One of `CLASSIFIERS`.
    memberships : tuple of pd.DataFrame [test clips x genres]
        One table per division; a genre without training clips has no column.

    Raises
    ------
    ValueError
        If the degrees of a clip do not add up to 1.
    """

    classifier: str
    memberships: tuple[pd.DataFrame, ...]

    @model_validator(mode="after")
    def _adds_up(self):
        for degrees in self.memberships:
            if not np.allclose(degrees.sum(axis=1), 1):
                raise ValueError("The membership degrees of every clip must add up to 1.")
        return self


def grid_search(
    descriptors: pd.DataFrame,
    genres: pd.Series,
    *,
    choices: dict,
    folds: int = 3,
    seed: int = 0,
    folder: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
    **options: Any,
) -> pd.DataFrame:
    """Grid search by cross-validated accuracy (`rotheneder2023` 5.2.2).

    Parameters
    ----------
    descriptors : pd.DataFrame [clips x descriptors, bool]
        Descriptors of the training clips only.
    genres : pd.Series [clip id -> genre]
    choices : dict of str to sequence
        Parameters of `DescriptorNetwork` and their values.
    folds : int > 1
        Number of folds, the same ones for every combination.
    seed : int >= 0
        Seed of the folds and of every network.
    folder, workers, scheduler
        As in `jobs.run`.
    **options
        Parameters of `DescriptorNetwork` that all combinations share.

    Returns
    -------
    table : pd.DataFrame
        One row per combination, best first: its parameters, accuracy (mean over the folds) and deviation (standard
        deviation over the folds).

    Raises
    ------
    ValueError
        If there are fewer clips than folds.

    Examples
    --------
    >>> descriptors = pd.DataFrame({"sitar": [True, False] * 6})
    >>> genres = pd.Series(["indian", "rock"] * 6)
    >>> table = grid_search(descriptors, genres, choices={"units": [2]}, folds=2, epochs=1, workers=1)
    >>> list(table.columns)
    ['units', 'accuracy', 'deviation']
    """
    from sklearn.model_selection import ParameterGrid

    combinations = list(ParameterGrid({name: list(values) for name, values in choices.items()}))
    divisions = _fold_clips(genres.index, n_folds=folds, seed=seed)
    data = {"descriptors": descriptors, "genres": genres, "divisions": divisions, "seed": seed}
    tasks = [MappingTask(classifier="network", **data, options=options | chosen) for chosen in combinations]
    rows = []
    for chosen, result in zip(
        combinations, jobs.run(tasks, folder=folder, workers=workers, scheduler=scheduler), strict=True
    ):
        right = [(degrees.idxmax(axis=1) == genres[degrees.index]).mean() for degrees in result.memberships]
        rows.append(chosen | {"accuracy": float(np.mean(right)), "deviation": float(np.std(right, ddof=1))})
    return pd.DataFrame(rows).sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


def compare(
    descriptors: pd.DataFrame,
    genres: pd.Series,
    *,
    groups: pd.Series,
    seeds: Sequence[int],
    classifiers: Sequence[str] = CLASSIFIERS,
    test_share: float = 0.25,
    folder: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
    **options: Any,
) -> pd.DataFrame:
    """Compare classifiers on the same divisions, random ones and divisions by group.

    Parameters
    ----------
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : pd.Series [clip id -> genre]
    groups : pd.Series [clip id -> artist]
    seeds : sequence of int
        One division and one training each.
    classifiers : sequence of str
        Some of `CLASSIFIERS`.
    test_share : float in (0, 1)
        Share of the clips, or of the groups, to test with.
    folder, workers, scheduler
        As in `jobs.run`.
    **options
        Other arguments of `classifier`.

    Returns
    -------
    table : pd.DataFrame
        One row per kind of division, seed and classifier: split ("random" or "artist"), rival (name of the classifier),
        seed, test_clips, and the measures of `scores`.
    """
    rows, tasks = [], []
    for kind, by in (("random", None), ("artist", groups)):
        for seed in seeds:
            division = splits.shuffle_split(genres.index, groups=by, test_share=test_share, seed=seed)
            for name in classifiers:
                rows.append({"split": kind, "rival": name, "seed": seed, "test_clips": len(division[1])})
                tasks.append(
                    MappingTask(
                        classifier=name,
                        descriptors=descriptors,
                        genres=genres,
                        divisions=[division],
                        seed=seed,
                        options=options,
                    )
                )
    results = jobs.run(tasks, folder=folder, workers=workers, scheduler=scheduler)
    return pd.DataFrame(
        [row | scores(result.memberships[0], genres) for row, result in zip(rows, results, strict=True)]
    )


def out_of_fold(
    descriptors: pd.DataFrame,
    genres: pd.Series,
    *,
    groups: pd.Series,
    classifiers: Sequence[str] = CLASSIFIERS,
    folds: int = 5,
    seed: int = 0,
    folder: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
    **options: Any,
) -> dict[str, pd.DataFrame]:
    """Predict every clip by classifiers that were trained without the clips of its group.

    Parameters
    ----------
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : pd.Series [clip id -> genre]
    groups : pd.Series [clip id -> artist]
    classifiers : sequence of str
        Some of `CLASSIFIERS`.
    folds : int > 1
        Number of folds; no group has clips in two of them.
    seed : int >= 0
        Seed of the folds and of the classifiers.
    folder, workers, scheduler
        As in `jobs.run`.
    **options
        Other arguments of `classifier`.

    Returns
    -------
    memberships : dict of str to pd.DataFrame [clips x genres]
        Degrees by name of the classifier; 0 for a genre that the classifier was not trained with.
    """
    divisions = _fold_clips(genres.index, n_folds=folds, groups=groups.loc[genres.index].to_numpy(), seed=seed)
    data = {"descriptors": descriptors, "genres": genres, "divisions": divisions, "seed": seed, "options": options}
    tasks = [MappingTask(classifier=name, **data) for name in classifiers]
    results = jobs.run(tasks, folder=folder, workers=workers, scheduler=scheduler)
    return {
        result.classifier: pd.concat(result.memberships).reindex(genres.index, columns=np.unique(genres)).fillna(0.0)
        for result in results
    }


def _fold_clips(ids, **options):
    """Folds as pairs of clip ids."""
    return [(ids[train], ids[test]) for train, test in splits.folds(len(ids), **options)]
