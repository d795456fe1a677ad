"""Every feature map alone as the input of small classifiers, through `runs.map`: a task is one map of one layer.

A worker reads its map from the store, learns and predicts, and sends back counts only; no process ever holds two maps.
"""

import functools
import hashlib
import time

import numpy as np
import pandas as pd

from musictools import runs
from musictools.probing import knn as neighbours
from musictools.probing import random_forest as forests
from musictools.probing import svm as margins
from musictools.probing.scores import COUNTS

__all__ = ["METHODS", "probe"]

METHODS = {"knn": neighbours.predict, "rf": forests.predict, "svm": margins.predict}


def probe(maps, labels, splits, *, methods, items=None, folder=None, workers=None, scheduler="", description="probing"):
    """Try maps one by one.

    Parameters
    ----------
    maps : FeatureMaps
    labels : pd.DataFrame [clips x tags, bool]
        Clips of `maps`, any of them, in any order.
    splits : sequence of (np.ndarray, np.ndarray)
        Rows of `labels` to learn from and rows to test on, a pair a fold, as `datasets.splits.folds` gives them.
    methods : dict of str to dict
        ``"knn"``, ``"rf"`` or ``"svm"`` -> options of `neighbours.predict`, `forests.predict`, `margins.predict`.
    items : sequence of (str, int) or None
        Maps, as of `FeatureMaps.items`; None: all.
    folder : str, Path or None
        Where finished maps are kept, should the run be killed.
    workers, scheduler, description
        As in `runs.map`. With a scheduler all workers must see the maps' folder.

    Returns
    -------
    counts : pd.DataFrame
        A row a map, fold, model and tag: layer, map, model (such as knn_3), tag, fold, tp, fp, fn, tn.
    seconds : pd.DataFrame
        A row a map and method: layer, map, method, seconds (of computing, all folds and tags).

    Raises
    ------
    ValueError
        If a method or a clip is unknown, a fold is empty or trains on clips that it tests, or a map holds NaN.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise ValueError(f"methods must be among {', '.join(METHODS)}. Got {', '.join(unknown) or 'none'}.")
    if not labels.shape[1] or not labels.dtypes.eq(bool).all():
        raise ValueError(f"labels must be bool with at least one tag. Got {labels.shape[1]} columns.")
    for train, test in splits:
        if not len(train) or not len(test) or len(np.intersect1d(train, test)):
            raise ValueError(f"Every split needs clips to learn from and other clips to test on. Got {len(train)} and "
                             f"{len(test)}, {len(np.intersect1d(train, test))} of them the same.")
    task = {"maps": maps, "rows": maps.rows(labels.index), "labels": labels.to_numpy(), "splits": list(splits),
            "methods": methods, "folder": folder}
    task["key"] = _key(task, list(labels.columns))
    items = maps.items() if items is None else list(items)
    done = runs.map(functools.partial(_probe, task), items, workers=workers, scheduler=scheduler,
                    description=description)
    tags = np.array(labels.columns, dtype=object)
    counts = pd.concat([pd.DataFrame(rows).assign(layer=layer, map=index)
                        for (layer, index), (rows, _) in zip(items, done)], ignore_index=True)
    counts["tag"] = tags[counts["tag"]]
    seconds = [{"layer": layer, "map": index, "method": name, "seconds": s}
               for (layer, index), (_, spent) in zip(items, done) for name, s in spent.items()]
    return counts[["layer", "map", "model", "tag", "fold", *COUNTS]], pd.DataFrame(seconds)


def _key(task, tags):
    """Everything that the counts depend on, but for the map."""
    digest = hashlib.sha256(repr((task["maps"].source, task["maps"].ids, task["methods"], tags)).encode())
    for array in (task["rows"], task["labels"], *(part for split in task["splits"] for part in split)):
        digest.update(np.ascontiguousarray(array).tobytes() + b";")
    return digest.hexdigest()


def _probe(task, item):
    return runs.cached(functools.partial(_try, task, item), folder=task["folder"], name=f"{item[0]}-{item[1]}",
                       depends_on=(task["key"], item))


def _try(task, item, _):
    """Counts of one map as a dict of columns, and seconds by method."""
    X, Y = task["maps"].read(*item)[task["rows"]], task["labels"]
    parts, spent = [], dict.fromkeys(task["methods"], 0.0)
    for fold, (train, test) in enumerate(task["splits"]):
        for name, options in task["methods"].items():
            began = time.process_time()
            predicted = METHODS[name](X[train], Y[train], X[test], **options)
            spent[name] += time.process_time() - began
            parts += [_counts(Y[test], yes, model=f"{name}_{size}", fold=fold) for size, yes in predicted.items()]
    return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}, spent


def _counts(true, yes, *, model, fold):
    n_tags = true.shape[1]
    cells = (true & yes, ~true & yes, true & ~yes, ~true & ~yes)
    return {"model": np.repeat(np.array([model], dtype=object), n_tags), "tag": np.arange(n_tags),
            "fold": np.full(n_tags, fold), **{name: cell.sum(axis=0) for name, cell in zip(COUNTS, cells)}}
