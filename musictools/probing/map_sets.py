"""The smallest set of feature maps that predicts a descriptor together.

No single map of `rotheneder2023` predicts a descriptor well, which says nothing about two or three of them. Here every
map is pooled to its mean and its maximum, and a logistic regression with an L1 penalty selects more maps as the penalty
decreases. The penalty is used for selection only: a model without it is fitted to the selected maps (the relaxed lasso,
Meinshausen 2007), because the penalty also shrinks the weights that it keeps and would compensate with more maps. Among
all penalties whose cross-validated score is within one standard error of the best, the one with the fewest maps is
chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import runs

if TYPE_CHECKING:
    from musictools.probing.maps import FeatureMaps
    from musictools.probing.streams import StreamedMaps

__all__ = ["POOLS", "pooled", "smallest_set", "smallest_sets"]

POOLS = ("mean", "maximum")
_SPAN = 300.0  # ratio of the strongest penalty that selects anything to the weakest


def pooled(
    maps: FeatureMaps | StreamedMaps,
    ids: Sequence,
    *,
    layers: Sequence[str] | None = None,
    workers: int | None = None,
    scheduler: str = "",
) -> pd.DataFrame:
    """Compute mean and maximum of every map.

    Parameters
    ----------
    maps : FeatureMaps or StreamedMaps
        Maps of the clips.
    ids : sequence of clip id
        Some of their clips.
    layers : sequence of str or None
        Names of layers; None: all but the input.
    workers : int > 0 or None
        Processes, as in `runs.map`.
    scheduler : str
        Address of a Dask scheduler, as in `runs.map`.

    Returns
    -------
    features : pd.DataFrame [clips x (layer, map, pool)]
    """
    names, rows = maps.names(layers), maps.rows(ids)
    values = []
    for stored, group in maps.passes(names):
        own = functools.partial(_pool, stored, rows)
        values += runs.map(own, group, workers=workers, scheduler=scheduler, description="pooling")
    columns = pd.MultiIndex.from_tuples(
        [(*name, pool) for name in names for pool in POOLS], names=["layer", "map", "pool"]
    )
    return pd.DataFrame(np.concatenate(values, axis=1), index=pd.Index(ids), columns=columns)


def _pool(maps, rows, name):
    X = maps.read(*name)[rows]
    return np.stack([X.mean(axis=1), X.max(axis=1)], axis=1)


def smallest_set(
    X: np.ndarray, y: np.ndarray, groups: np.ndarray, *, n_folds: int = 5, n_costs: int = 12, seed: int = 0
) -> tuple[np.ndarray, pd.DataFrame]:
    """Choose the smallest set of maps for one tag.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_features)]
        Pooled maps.
    y : np.ndarray [shape=(n_clips,), bool]
        Whether the clips have the tag.
    groups : np.ndarray [shape=(n_features,), int]
        The map of every feature.
    n_folds : int > 1
        Number of stratified folds.
    n_costs : int > 1
        Number of penalties, evenly spaced in their logarithm.
    seed : int >= 0
        Seed of the folds.

    Returns
    -------
    chosen : np.ndarray [int]
        Maps of the smallest set, ascending.
    path : pd.DataFrame
        One row per penalty: cost, maps (number selected on all clips), roc_auc (mean over folds, each with the maps
        selected on its own training clips), error (its standard error), chosen.

    Raises
    ------
    ValueError
        If there are fewer clips with the tag, or without it, than folds, or X holds NaN.

    Examples
    --------
    The difference of features 2 and 5 determines the tag; every map has one feature.

    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> chosen, path = smallest_set(X, X[:, 2] > X[:, 5], np.arange(8))
    >>> chosen.tolist()
    [2, 5]
    """
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import l1_min_c

    y = np.asarray(y, dtype=bool)
    if min(y.sum(), (~y).sum()) < n_folds:
        raise ValueError(
            f"y must have at least n_folds={n_folds} clips of either kind. Got {y.sum()} with the tag and "
            f"{(~y).sum()} without."
        )
    X = StandardScaler().fit_transform(X)
    costs = l1_min_c(X, y, loss="log") * np.geomspace(1.05, _SPAN, n_costs)
    splits = list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(X, y))
    scores = np.array(
        [
            [_score(X, y, train, test, kept, groups) for kept in _kept(X[train], y[train], groups, costs)]
            for train, test in splits
        ]
    )
    sets = _kept(X, y, groups, costs)
    mean, error = scores.mean(axis=0), scores.std(axis=0, ddof=1) / np.sqrt(n_folds)
    sizes, top = np.array([len(s) for s in sets]), int(mean.argmax())
    good = np.flatnonzero(mean >= mean[top] - error[top])
    number = int(good[np.lexsort((-mean[good], sizes[good]))[0]])
    path = pd.DataFrame(
        {"cost": costs, "maps": sizes, "roc_auc": mean, "error": error, "chosen": np.arange(n_costs) == number}
    )
    return sets[number], path


def smallest_sets(
    features: pd.DataFrame,
    labels: pd.DataFrame,
    split: pd.Series,
    *,
    n_folds: int = 5,
    n_costs: int = 12,
    seed: int = 0,
    workers: int | None = None,
    scheduler: str = "",
) -> pd.DataFrame:
    """Choose the smallest sets of every tag, within each layer and over all layers, and score them on test clips.

    Parameters
    ----------
    features : pd.DataFrame [clips x (layer, map, pool)]
        As returned by `pooled`.
    labels : pd.DataFrame [clips x tags, bool]
        Tags of the clips.
    split : pd.Series [clip id -> "train" or "test"]
        Penalty and maps are chosen on training clips.
    n_folds, n_costs, seed : int
        As in `smallest_set`.
    workers : int > 0 or None
        Processes, as in `runs.map`.
    scheduler : str
        Address of a Dask scheduler, as in `runs.map`.

    Returns
    -------
    table : pd.DataFrame
        One row per layer (and "all" if there are several) and tag: layer, tag, maps (number of candidates), set_size,
        feature_maps (text: indices, with "all" also their layers), roc_auc, roc_auc_low and roc_auc_high of the set on
        test clips (95 %, DeLong), best_map and best_map_roc_auc (the map with the best single feature on training
        clips, its two features on test clips). Tags that fewer training clips have or lack than there are folds are
        left out.
    """
    layers = list(features.columns.unique("layer"))
    layers += ["all"] if len(layers) > 1 else []
    chosen = {layer: features if layer == "all" else features.loc[:, [layer]] for layer in layers}
    train = labels.loc[split.index[split == "train"]]
    tags = [tag for tag in labels if min(train[tag].sum(), (~train[tag]).sum()) >= n_folds]
    pairs = [(layer, tag) for layer in layers for tag in tags]
    task = {
        "features": chosen,
        "labels": labels,
        "split": split,
        "options": {"n_folds": n_folds, "n_costs": n_costs, "seed": seed},
    }
    return pd.DataFrame(
        runs.map(
            functools.partial(_set_of, task), pairs, workers=workers, scheduler=scheduler, description="sets of maps"
        )
    )


def _set_of(task, pair):
    layer, tag = pair
    features, split = task["features"][layer], task["split"]
    names = features.columns.droplevel("pool").unique()
    groups = names.get_indexer(features.columns.droplevel("pool"))
    label = [f"{name} {index}" if layer == "all" else str(index) for name, index in names]
    (X, y), (Q, true) = (
        (features.loc[ids].to_numpy(), task["labels"].loc[ids, tag].to_numpy())
        for ids in (split.index[split == part] for part in ("train", "test"))
    )
    members, _ = smallest_set(X, y, groups, **task["options"])
    single = int(groups[np.argmax([abs(_delong(y, column)[0] - 0.5) for column in X.T])])
    area, low, high = _delong(true, _refit(X, y, np.isin(groups, members), Q))
    return {
        "layer": layer,
        "tag": tag,
        "maps": len(names),
        "set_size": len(members),
        "feature_maps": ", ".join(label[k] for k in members),
        "roc_auc": area,
        "roc_auc_low": low,
        "roc_auc_high": high,
        "best_map": label[single],
        "best_map_roc_auc": _delong(true, _refit(X, y, groups == single, Q))[0],
    }


def _kept(X, y, groups, costs):
    """The maps that each penalty selects; if it selects none, the one with the strongest feature."""
    sets = []
    for cost in costs:
        weight = np.abs(_logistic(C=cost, l1_ratio=1).fit(X, y).coef_[0])
        sets.append(np.unique(groups[weight > 0]) if weight.any() else groups[[np.abs(X.T @ (y - y.mean())).argmax()]])
    return sets


def _score(X, y, train, test, kept, groups):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(y[test], _refit(X[train], y[train], np.isin(groups, kept), X[test]))


def _refit(X, y, chosen, Q):
    """Scores of a model that has the chosen features and a weak penalty."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), _logistic(C=1.0, l1_ratio=0))
    return model.fit(X[:, chosen], y).decision_function(Q[:, chosen])


def _logistic(**penalty):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(solver="liblinear", random_state=0, max_iter=1000, **penalty)


def _delong(y, score):
    """ROC-AUC with its 95 % interval by DeLong et al. (1988); NaN where a class is missing."""
    y = np.asarray(y, dtype=bool)
    if not 0 < y.mean() < 1:
        return np.nan, np.nan, np.nan
    wins = (score[y][:, None] > score[~y]) + 0.5 * (score[y][:, None] == score[~y])
    area, rows, columns = wins.mean(), wins.mean(axis=1), wins.mean(axis=0)
    variance = sum(part.var(ddof=1) / len(part) if len(part) > 1 else np.nan for part in (rows, columns))
    reach = 1.96 * np.sqrt(variance)
    return float(area), float(max(0, area - reach)), float(min(1, area + reach))
