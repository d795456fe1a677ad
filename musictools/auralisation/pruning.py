"""Which features are worth listening to: the loss when one map is ablated (`choi2018`, 7.2.5).

A map is *ablated* by replacing it by its mean over all inputs and cells, or by 0; the network continues from there.
The mean changes less: with 0 the layers above also meet a level that they have never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd
from keras import ops

from musictools import evaluation, runs
from musictools.auralisation.deconvolution import feature_maps
from musictools.models.graph.autodiff import compiled_arrays
from musictools.models.graph.reading import read

if TYPE_CHECKING:
    from musictools.spectrograms import Segments

__all__ = ["ablate", "best"]

FILLS = ("mean", "zero")


def ablate(
    model: keras.Model,
    x: np.ndarray | Segments,
    labels: np.ndarray,
    *,
    layers: Sequence[str],
    fill: str = "mean",
    clip: np.ndarray | None = None,
    repeats: int = 0,
    seed: int = 0,
    batch_size: int = 32,
) -> pd.DataFrame:
    """Ablate every feature of some layers, one at a time.

    Parameters
    ----------
    model : keras.Model
        A classifier that ends in a softmax.
    x : np.ndarray or Segments [shape=(n, n_bins, n_frames, 1)]
        Inputs that the model was not trained on.
    labels : np.ndarray [shape=(n,), int]
        Their classes.
    layers : sequence of str
        Names of layers with feature maps.
    fill : {"mean", "zero"}
        What replaces the map.
    clip : np.ndarray [shape=(n,)] or None
        The clip of every input, for intervals; None: every input is a clip of its own.
    repeats : int >= 0
        Resamples of the bootstrap over clips; 0: no intervals.
    seed : int >= 0
        Seed of the bootstrap.
    batch_size : int > 0
        Number of inputs computed at once.

    Returns
    -------
    table : pd.DataFrame
        One row per feature, those with the highest loss first within each layer: layer, feature, rank (from 1),
        accuracy_drop, loss_rise (cross-entropy in nats, minus that of the whole network), active (share of cells above
        0), activation (mean); with `repeats` also loss_low and loss_high, a 95 % interval over clips.

    Raises
    ------
    ValueError
        If the model has no softmax, a layer has no maps, or the labels do not fit.

    See Also
    --------
    best : The features that are missed most.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("ckn19", n_outputs=2, width=0.05, input_shape=(32, 32, 1), seed=0)
    >>> x = np.random.default_rng(0).random((4, 32, 32, 1), dtype=np.float32)
    >>> table = ablate(model, x, np.array([0, 1, 0, 1]), layers=["conv1"])
    >>> table[["layer", "rank"]]
       layer  rank
    0  conv1     1
    1  conv1     2
    2  conv1     3
    """
    graph = read(model)
    if graph.head != "softmax":
        raise ValueError(f"model must be a classifier that ends in a softmax. {graph.name} ends in {graph.head}.")
    labels = np.asarray(labels)
    if labels.shape != (len(x),) or not len(x) or labels.min() < 0 or labels.max() >= graph.n_outputs:
        raise ValueError(
            f"labels must name a class from 0 to {graph.n_outputs - 1} for each of {len(x)} inputs. "
            f"Got shape {labels.shape}."
        )
    if fill not in FILLS:
        raise ValueError(f"fill must be one of {', '.join(FILLS)}. Got {fill!r}.")
    clip = np.arange(len(x)) if clip is None else np.asarray(clip)
    calls = {name: feature_maps(graph, name) for name in layers}
    tables = [
        _one(graph, calls[name], x, labels, fill, clip, repeats, seed, batch_size)
        for name in runs.progress(layers, description="ablation")
    ]
    return pd.concat(tables, ignore_index=True)


def best(table: pd.DataFrame, n: int) -> dict[str, list[int]]:
    """Choose the features of every layer whose ablation raises the loss most.

    Parameters
    ----------
    table : pd.DataFrame
        As returned by `ablate`.
    n : int > 0
        Number of features per layer.

    Returns
    -------
    features : dict of str to list of int
        Layer -> features, that with the highest loss first. Features that are never active are left out, because they
        are silent.
    """
    alive = table[table["active"] > 0]
    return {layer: group["feature"].head(n).tolist() for layer, group in alive.groupby("layer", sort=False)}


def _one(graph, call, x, labels, fill, clip, repeats, seed, batch_size):
    """The rows of one layer."""
    value, sides = call.outputs[0], call.node.outputs[0].shape[1:]
    shape, n_features = (None, *graph.input_shape), sides[-1]
    maps_of = compiled_arrays(lambda x: graph.run(x, upto=value), shape)
    run = compiled_arrays(
        lambda x, maps, gone, put: graph.run(x, replace={value: maps * (1 - gone) + put * gone}),
        shape,
        (None, *sides),
        (n_features,),
        (n_features,),
    )
    batches = [slice(i, i + batch_size) for i in range(0, len(x), batch_size)]
    total, active = np.zeros((2, n_features))
    for part in batches:
        maps = maps_of(np.asarray(x[part], np.float32))
        total += maps.mean(axis=(1, 2)).sum(axis=0)
        active += (maps > 0).mean(axis=(1, 2)).sum(axis=0)
    mean = (total / len(x)).astype(np.float32)
    put = mean if fill == "mean" else np.zeros_like(mean)
    losses, right = np.empty((2, 1 + n_features, len(x)))
    for part in batches:
        inputs = np.asarray(x[part], np.float32)
        maps = maps_of(inputs)
        for k, gone in enumerate(np.eye(n_features, dtype=np.float32)[[0, *range(n_features)]]):
            logits = run(inputs, maps, gone * (k > 0), put)
            losses[k, part], right[k, part] = _scores(logits, labels[part])
    rise = losses[1:] - losses[0]
    table = pd.DataFrame(
        {
            "layer": call.name,
            "feature": np.arange(n_features),
            "accuracy_drop": (right[0] - right[1:]).mean(axis=1),
            "loss_rise": rise.mean(axis=1),
            "active": active / len(x),
            "activation": mean,
        }
    )
    if repeats:
        ends = [evaluation.bootstrap(lambda rows, r=r: r[rows].mean(), clip, repeats=repeats, seed=seed) for r in rise]
        table[["loss_low", "loss_high"]] = np.array(ends)
    table = table.sort_values(["loss_rise", "accuracy_drop"], ascending=False, kind="stable", ignore_index=True)
    table.insert(2, "rank", np.arange(1, n_features + 1))
    return table


def _scores(logits, labels):
    """Cross-entropy of every input, and whether its class is right."""
    log = ops.convert_to_numpy(ops.log_softmax(logits, axis=-1))
    return -log[np.arange(len(labels)), labels], logits.argmax(axis=1) == labels
