"""The smallest set of feature maps that carries a descriptor together.

No single map of `rotheneder2023` carries a descriptor; that says nothing of two or three. Every map is pooled to its
mean and its maximum, and a logistic regression with an L1 penalty lets maps in one after the other as the penalty
falls. The penalty only chooses: the maps that it lets in are learned from again without it (the relaxed lasso of
Meinshausen 2007), for the penalty also shrinks what it keeps, and would make up for that with more maps. Of all
penalties whose cross-validated score is within one standard error of the best, the one with the fewest maps is taken:
the smallest set that is not told apart from the best.
"""

import functools

import numpy as np
import pandas as pd

from musictools import runs

__all__ = ["POOLS", "pooled", "smallest_set", "smallest_sets"]

POOLS = ("mean", "maximum")
_SPAN = 300.0  # from the strongest penalty that lets anything in to the weakest


def pooled(maps, ids, *, layers=None, workers=None, scheduler=""):
    """Mean and maximum of every map.

    Parameters
    ----------
    maps : FeatureMaps
    ids : sequence of clip id
    layers : sequence of str or None
        None: all but the input.
    workers, scheduler
        As in `runs.map`.

    Returns
    -------
    features : pd.DataFrame [clips x (layer, map, pool)]
    """
    items, rows = maps.items(layers), maps.rows(ids)
    values = runs.map(
        functools.partial(_pool, maps, rows), items, workers=workers, scheduler=scheduler, description="pooling"
    )
    columns = pd.MultiIndex.from_tuples(
        [(*item, pool) for item in items for pool in POOLS], names=["layer", "map", "pool"]
    )
    return pd.DataFrame(np.concatenate(values, axis=1), index=pd.Index(ids), columns=columns)


def _pool(maps, rows, item):
    X = maps.read(*item)[rows]
    return np.stack([X.mean(axis=1), X.max(axis=1)], axis=1)


def smallest_set(X, y, groups, *, n_folds=5, n_costs=12, seed=0):
    """The path of one tag.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_features)]
    y : np.ndarray [shape=(n_clips,), bool]
    groups : np.ndarray [shape=(n_features,), int]
        The map of every feature.
    n_folds : int > 1
        Stratified.
    n_costs : int > 1
        Penalties on the path, evenly spaced in their logarithm.
    seed : int >= 0
        Of the folds.

    Returns
    -------
    chosen : np.ndarray [int]
        Maps of the smallest set, ascending.
    path : pd.DataFrame
        A row a penalty: cost, maps (that it lets in when all clips are learned from), roc_auc (mean over folds, each
        with the maps that its own training clips chose), error (its standard error), chosen.

    Raises
    ------
    ValueError
        If there are fewer clips with the tag, or without it, than folds, or X holds NaN.
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
            [_reached(X, y, train, test, kept, groups) for kept in _kept(X[train], y[train], groups, costs)]
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


def smallest_sets(features, labels, parts, *, n_folds=5, n_costs=12, seed=0, workers=None, scheduler=""):
    """Smallest sets of every tag, within each layer and over all, and what they reach on test clips.

    Parameters
    ----------
    features : pd.DataFrame [clips x (layer, map, pool)]
        Of `pooled`.
    labels : pd.DataFrame [clips x tags, bool]
    parts : pd.Series [clip id -> "train" or "test"]
        Penalty and maps are chosen on training clips.
    n_folds, n_costs, seed
        As in `smallest_set`.
    workers, scheduler
        As in `runs.map`.

    Returns
    -------
    table : pd.DataFrame
        A row a layer (of several also "all") and tag: layer, tag, maps (how many there are), set_size, feature_maps
        (text: indices, with "all" also their layers), roc_auc, roc_auc_low and roc_auc_high of the set on test clips
        (95 %, DeLong), best_map and best_map_roc_auc (the map with the best single feature on training clips, its two
        features on test clips).
        Tags that have fewer clips than folds on one side are left out.
    """
    layers = list(features.columns.unique("layer"))
    layers += ["all"] if len(layers) > 1 else []
    chosen = {layer: features if layer == "all" else features.loc[:, [layer]] for layer in layers}
    train = labels.loc[parts.index[parts == "train"]]
    tags = [tag for tag in labels if min(train[tag].sum(), (~train[tag]).sum()) >= n_folds]
    items = [(layer, tag) for layer in layers for tag in tags]
    task = {
        "features": chosen,
        "labels": labels,
        "parts": parts,
        "options": {"n_folds": n_folds, "n_costs": n_costs, "seed": seed},
    }
    return pd.DataFrame(
        runs.map(
            functools.partial(_set_of, task), items, workers=workers, scheduler=scheduler, description="sets of maps"
        )
    )


def _set_of(task, item):
    layer, tag = item
    features, parts = task["features"][layer], task["parts"]
    names = features.columns.droplevel("pool").unique()
    groups = names.get_indexer(features.columns.droplevel("pool"))
    label = [f"{name} {index}" if layer == "all" else str(index) for name, index in names]
    (X, y), (Q, true) = (
        (features.loc[ids].to_numpy(), task["labels"].loc[ids, tag].to_numpy())
        for ids in (parts.index[parts == part] for part in ("train", "test"))
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
    """The maps that each penalty lets in; where none is, the one with the strongest feature."""
    sets = []
    for cost in costs:
        weight = np.abs(_logistic(C=cost, l1_ratio=1).fit(X, y).coef_[0])
        sets.append(np.unique(groups[weight > 0]) if weight.any() else groups[[np.abs(X.T @ (y - y.mean())).argmax()]])
    return sets


def _reached(X, y, train, test, kept, groups):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(y[test], _refit(X[train], y[train], np.isin(groups, kept), X[test]))


def _refit(X, y, chosen, Q):
    """Scores of a model that has the chosen features and hardly a penalty."""
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
