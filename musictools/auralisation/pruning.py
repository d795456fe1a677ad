"""Which features are worth listening to: what the network loses when one map is taken away (`choi2018`, 7.2.5).

A map is *ablated* by putting its mean over all inputs and cells in its place (or 0); the network runs on from there.
The mean is the milder choice: with 0 the layers above also meet a level that they have never seen.
"""

import numpy as np
import pandas as pd
from keras import ops

from musictools import evaluation, runs
from musictools.auralisation.deconvolution import feature_maps
from musictools.models.graph import reading as graphs
from musictools.models.graph.autodiff import compiled_arrays

__all__ = ["ablate", "best"]

FILLS = ("mean", "zero")


def ablate(model, x, labels, *, layers, fill="mean", clip=None, repeats=0, seed=0, batch_size=32):
    """Ablate every feature of some layers, one at a time.

    Parameters
    ----------
    model : keras.Model
        A classifier that ends in a softmax.
    x : np.ndarray or Segments [shape=(n, n_bins, n_frames, 1)]
        Inputs it has not been trained on.
    labels : np.ndarray [shape=(n,), int]
        Their classes.
    layers : sequence of str
    fill : {"mean", "zero"}
        What stands in place of the map.
    clip : np.ndarray [shape=(n,)] or None
        The inputs' clips, for intervals; None: every input counts as one.
    repeats : int >= 0
        Of the bootstrap over clips; 0: no intervals.
    seed : int >= 0
    batch_size : int > 0

    Returns
    -------
    table : pd.DataFrame
        A row a feature, the costliest of each layer first: layer, feature, rank (from 1), accuracy_drop, loss_rise
        (cross-entropy in nats, as difference to the whole network), active (share of cells above 0), activation (mean);
        with repeats also loss_low and loss_high, a 95 % interval over clips.

    Raises
    ------
    ValueError
        If the model has no softmax, a layer no maps, or labels do not fit.
    """
    graph = graphs.read(model)
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


def best(table, n):
    """The costliest features of every layer.

    Parameters
    ----------
    table : pd.DataFrame
        As of `ablate`.
    n : int > 0

    Returns
    -------
    features : dict of str to list of int
        Layer -> features, the costliest first. Those never active are left out, as there is nothing to hear.
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
    """Cross-entropy and whether it is right, of every input."""
    log = ops.convert_to_numpy(ops.log_softmax(logits, axis=-1))
    return -log[np.arange(len(labels)), labels], logits.argmax(axis=1) == labels
