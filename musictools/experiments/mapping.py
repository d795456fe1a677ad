"""Experiments of notebook 04: the grid, the rivals, the scores, and what a tagger's descriptors say of the genre."""

import functools

import numpy as np
import pandas as pd

from musictools import evaluation, runs
from musictools.datasets import splits
from musictools.mapping.network import DescriptorNetwork

__all__ = ["RIVALS", "affiliation", "calibration", "compare", "grid", "out_of_fold", "rival", "scores"]

RIVALS = ("network", "logistic regression", "naive Bayes", "decision tree", "commonest genre")
_BINS = 10


def rival(name, *, seed=0, leaves=40, **options):
    """An untrained classifier by name.

    Parameters
    ----------
    name : str
        One of `RIVALS`.
    seed : int >= 0
    leaves : int > 1
        Of the decision tree, at most.
    **options
        Of the network.

    Returns
    -------
    classifier : scikit-learn classifier with predict_proba
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


def grid(descriptors, genres, *, choices, folds=3, seed=0, workers=None, scheduler="", **options):
    """Grid search by cross-validated accuracy (`rotheneder2023` 5.2.2).

    Parameters
    ----------
    descriptors : pd.DataFrame [clips x descriptors, bool]
        Of the training clips only.
    genres : pd.Series [clip id -> genre]
    choices : dict of str to sequence
        Parameters of `DescriptorNetwork` and their values.
    folds : int > 1
        The same for every combination.
    seed, workers, scheduler
        The last two of `runs.map`.
    **options
        Parameters of `DescriptorNetwork` that stay.

    Returns
    -------
    table : pd.DataFrame
        A row a combination, best first: the parameters, accuracy (mean over folds), deviation (over folds).

    Raises
    ------
    ValueError
        If there are fewer clips than folds.
    """
    from sklearn.model_selection import ParameterGrid

    cut = splits.folds(len(genres), n_folds=folds, seed=seed)
    combinations = list(ParameterGrid({name: list(values) for name, values in choices.items()}))
    score = functools.partial(_cross_validated, descriptors.to_numpy(), genres.to_numpy(), cut, seed, options)
    found = runs.map(score, combinations, workers=workers, scheduler=scheduler, description="grid")
    table = pd.DataFrame(
        [
            c | {"accuracy": float(np.mean(f)), "deviation": float(np.std(f, ddof=1))}
            for c, f in zip(combinations, found)
        ]
    )
    return table.sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


def _cross_validated(X, y, cut, seed, options, combination):
    from sklearn.model_selection import cross_val_score

    return cross_val_score(DescriptorNetwork(seed=seed, **options, **combination), X, y, cv=cut, error_score="raise")


def compare(
    descriptors, genres, *, groups, seeds, rivals=RIVALS, test_share=0.25, workers=None, scheduler="", **options
):
    """All rivals on the same divisions, random and by group.

    Parameters
    ----------
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : pd.Series [clip id -> genre]
    groups : pd.Series [clip id -> artist]
    seeds : sequence of int
        One division and one training each.
    rivals : sequence of str
    test_share : float in (0, 1)
    workers, scheduler
        Of `runs.map`.
    **options
        Of `rival`.

    Returns
    -------
    table : pd.DataFrame
        A row a division, rival and seed: split ("random" or "artist"), rival, seed, test_clips, and those of `scores`.
    """
    items = [(kind, seed, name) for kind in ("random", "artist") for seed in seeds for name in rivals]
    fit = functools.partial(_fit_and_score, descriptors, genres, groups, test_share, options)
    return pd.DataFrame(runs.map(fit, items, workers=workers, scheduler=scheduler, description="rivals"))


def _fit_and_score(descriptors, genres, groups, test_share, options, item):
    kind, seed, name = item
    train, test = splits.shuffle_split(
        genres.index, groups=groups if kind == "artist" else None, test_share=test_share, seed=seed
    )
    classifier = rival(name, seed=seed, **options)
    classifier.fit(descriptors.loc[train].to_numpy(), genres[train].to_numpy())
    degrees = pd.DataFrame(
        classifier.predict_proba(descriptors.loc[test].to_numpy()), index=test, columns=classifier.classes_
    )
    return {"split": kind, "rival": name, "seed": seed, "test_clips": len(test)} | scores(degrees, genres[test])


def out_of_fold(descriptors, genres, *, groups, rivals=RIVALS, folds=5, seed=0, workers=None, scheduler="", **options):
    """Degrees of every clip by classifiers that know no clip of its group.

    Parameters
    ----------
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : pd.Series [clip id -> genre]
    groups : pd.Series [clip id -> artist]
    rivals : sequence of str
    folds : int > 1
        Whole groups.
    seed, workers, scheduler
        The last two of `runs.map`.
    **options
        Of `rival`.

    Returns
    -------
    memberships : dict of str to pd.DataFrame [clips x genres]
        By rival.
    """
    fit = functools.partial(_out_of_fold, descriptors, genres, groups, folds, seed, options)
    found = runs.map(fit, rivals, workers=workers, scheduler=scheduler, description="out of fold")
    return dict(zip(rivals, found))


def _out_of_fold(descriptors, genres, groups, folds, seed, options, name):
    X, y = descriptors.to_numpy(), genres.to_numpy()
    degrees = pd.DataFrame(0.0, index=genres.index, columns=np.unique(y))
    for train, test in splits.folds(len(y), n_folds=folds, groups=groups.loc[genres.index].to_numpy(), seed=seed):
        classifier = rival(name, seed=seed, **options).fit(X[train], y[train])
        degrees.loc[genres.index[test], classifier.classes_] = classifier.predict_proba(X[test])
    return degrees


def scores(membership, genres):
    """How good and how honest degrees are.

    Parameters
    ----------
    membership : pd.DataFrame [clips x genres]
    genres : pd.Series [clip id -> genre]
        A genre that `membership` lacks has degree 0.

    Returns
    -------
    scores : dict
        accuracy; log_loss (nats, degrees below 1e-6 count as that); brier (sum over genres of squared errors,
        0 to 2); calibration_error (Guo et al. 2017): every clip's highest degree in ten bins, mean distance between
        the degrees of a bin and the share of them that are right, bins weighted by size.
    """
    degrees = membership.to_numpy(dtype=float)
    true = membership.columns.to_numpy()[None, :] == genres.loc[membership.index].to_numpy()[:, None]
    own = (degrees * true).sum(axis=1)
    missing = ~true.any(axis=1)
    bins = calibration(membership, genres, highest=True)
    return {
        "accuracy": float(true[np.arange(len(true)), degrees.argmax(axis=1)].mean()),
        "log_loss": float(-np.log(np.maximum(own, 1e-6)).mean()),
        "brier": float((((degrees - true) ** 2).sum(axis=1) + missing).mean()),
        "calibration_error": float((bins["gap"].abs() * bins["degrees"]).sum() / bins["degrees"].sum()),
    }


def calibration(membership, genres, *, highest=False, groups=None, repeats=0, seed=0):
    """Is a degree of 0.7 right in 70 % of the cases? All genres together, ten bins of equal width.

    Parameters
    ----------
    membership : pd.DataFrame [clips x genres]
    genres : pd.Series [clip id -> genre]
    highest : bool
        Only the highest degree of every clip; else all degrees, most of which are near 0.
    groups : pd.Series [clip id -> group] or None
        Intervals resample these; None: clips.
    repeats : int >= 0
        Of the bootstrap; 0: no intervals.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        A row a bin that is not empty: bin (its lower edge), degrees (how many), degree (mean), share (of them that are
        true), gap (share - degree), and share_low, share_high.
    """
    degrees = membership.to_numpy(dtype=float)
    true = membership.columns.to_numpy()[None, :] == genres.loc[membership.index].to_numpy()[:, None]
    place = np.minimum((degrees * _BINS).astype(int), _BINS - 1)
    counted = np.arange(degrees.shape[1])[None, :] == degrees.argmax(axis=1)[:, None] if highest else np.ones_like(true)
    # sums by clip and bin, so that a resample of clips costs one addition
    count, mass, hits = (
        np.stack([(values * counted * (place == b)).sum(axis=1) for b in range(_BINS)], axis=1)
        for values in (np.ones_like(degrees), degrees, true)
    )
    total = count.sum(axis=0)
    full = np.flatnonzero(total)
    degree, share = mass.sum(axis=0)[full] / total[full], hits.sum(axis=0)[full] / total[full]
    table = pd.DataFrame({"bin": full / _BINS, "degrees": total[full].astype(int), "degree": degree, "share": share})
    table["gap"] = table["share"] - table["degree"]
    if repeats:
        of = np.arange(len(degrees)) if groups is None else groups.loc[membership.index].to_numpy()
        spread = evaluation.bootstrap(
            lambda rows: dict(enumerate((hits[rows].sum(axis=0) / np.maximum(count[rows].sum(axis=0), 1e-9))[full])),
            of,
            repeats=repeats,
            seed=seed,
        )
        table[["share_low", "share_high"]] = [spread[k] for k in range(len(full))]
    return table


def affiliation(membership, genres, *, repeats=500, seed=0):
    """Mean membership degree in the true genre (`rotheneder2023` table 5.19).

    Parameters
    ----------
    membership : pd.DataFrame [clips x genres]
    genres : pd.Series [clip id -> genre]
    repeats, seed
        Of the bootstrap over clips.

    Returns
    -------
    row : dict
        affiliation, affiliation_low, affiliation_high, and right: the share of clips whose highest degree is that of
        the true genre. A genre that `membership` lacks has degree 0.

    Raises
    ------
    ValueError
        If there are no clips.
    """
    if membership.empty:
        raise ValueError("There are no clips to take a mean over.")
    of = genres.loc[membership.index]
    true = membership.columns.to_numpy()[None, :] == of.to_numpy()[:, None]
    own = (membership.to_numpy() * true).sum(axis=1)
    low, high = evaluation.bootstrap(lambda rows: own[rows].mean(), np.arange(len(own)), repeats=repeats, seed=seed)
    right = (membership.idxmax(axis=1) == of).mean()
    return {"affiliation": float(own.mean()), "affiliation_low": low, "affiliation_high": high, "right": float(right)}
