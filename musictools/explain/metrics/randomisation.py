"""Copies of a model with shuffled or exchanged weights, for sanity checks of explanations.

Conventions
-----------
The model itself is never touched. *Randomised* means that the entries of every trainable weight array of a layer are
permuted among themselves. Each array keeps all its values, hence its mean, deviation, outliers and signs; only their
places are lost. (New draws from the initialiser, as in Adebayo et al. 2018, also change the scale of the activations,
and the maps then differ for a second reason.) The permutation depends on seed and layer alone, not on the order, so all
cascades end in the same network.

A batch normalisation that stands behind a layer, with nothing between but layers without weights, is randomised with
it. Its moving mean and variance no longer fit then, and units behind it may be dead or saturated, so they are estimated
anew on given inputs. Without inputs they stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools.explain.metrics import arguments

if TYPE_CHECKING:
    import keras

__all__ = ["ORDERS", "label_swapped", "layer_groups", "randomised", "scrambled"]

ORDERS = ("top_down", "bottom_up", "independent")


def randomised(
    model: keras.Model, *, order: str = "top_down", seed: int = 0, x: np.ndarray | None = None
) -> Iterator[tuple[str, keras.Model]]:
    """Copies of a model with more and more layers randomised, or with one alone (Adebayo et al. 2018).

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, one input, one output.
    order : {"top_down", "bottom_up", "independent"}
        Cascade from the output to the input, from the input to the output, or every layer alone, the last one first.
    seed : int >= 0
        Seed of the permutations.
    x : np.ndarray [shape=(n, *input_shape)] or None
        Inputs on which batch normalisations of randomised layers are estimated anew. One sample is too few behind a
        dense layer, whose normalisation then stays as it was.

    Yields
    ------
    name : str
        The layer that was randomised last.
    copy : keras.Model
        A new copy every time.

    Raises
    ------
    ValueError
        If the order is unknown or the model has no layer to randomise.

    Examples
    --------
    >>> from keras import Sequential, layers
    >>> model = Sequential([layers.Input((3,)), layers.Dense(4, name="hidden"), layers.Dense(2, name="logits")])
    >>> [name for name, copy in randomised(model)]
    ['logits', 'hidden']
    """
    arguments.choice("order", order, ORDERS)
    names = [group[0] for group in layer_groups(model)]
    numbers = range(len(names)) if order == "bottom_up" else reversed(range(len(names)))
    for i in numbers:
        chosen = {"top_down": names[i:], "bottom_up": names[: i + 1], "independent": [names[i]]}[order]
        yield names[i], scrambled(model, chosen, seed=seed, x=x)


def layer_groups(model: keras.Model) -> list[list[str]]:
    """Layers that are randomised together, in the order of computation.

    Parameters
    ----------
    model : keras.Model
        As in `randomised`.

    Returns
    -------
    groups : list of list of str
        Names of a layer with trainable weights and of the batch normalisations behind it.
    """
    return [[layer.name for layer in group] for group in _groups(_copy(model)[1])]


def scrambled(model: keras.Model, names: Sequence[str], *, seed: int = 0, x: np.ndarray | None = None) -> keras.Model:
    """A copy of a model with some layers randomised.

    Parameters
    ----------
    model : keras.Model
        As in `randomised`.
    names : sequence of str
        First names of the groups of `layer_groups`.
    seed : int >= 0
        Seed of the permutations.
    x : np.ndarray [shape=(n, *input_shape)] or None
        As in `randomised`.

    Returns
    -------
    copy : keras.Model

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    copy, graph = _copy(model)
    groups = _groups(graph)
    unknown = [name for name in names if name not in [group[0].name for group in groups]]
    if isinstance(names, str) or unknown:
        raise ValueError(f"names must be a list of {', '.join(group[0].name for group in groups)}. Got {names!r}.")
    chosen = [(number, group) for number, group in enumerate(groups) if group[0].name in names]
    for number, group in chosen:
        rng = np.random.default_rng([seed, number])
        for weight in (w for layer in group for w in layer.trainable_weights):
            values = np.asarray(weight)
            weight.assign(rng.permutation(values.ravel()).reshape(values.shape))
    if x is not None:
        _estimate(graph, {id(layer) for _, group in chosen for layer in group}, x)
    return copy


def label_swapped(model: keras.Model, first: int, second: int) -> keras.Model:
    """A copy of a model in which two outputs have exchanged their weights.

    Its map of one output must be the model's map of the other: a test of the whole way from a tag's number to its map.

    Parameters
    ----------
    model : keras.Model
        As in `randomised`; its logits come from a Dense layer.
    first, second : int
        Outputs.

    Returns
    -------
    copy : keras.Model

    Raises
    ------
    ValueError
        If an output does not exist or the logits come from another layer.
    """
    from keras import layers

    copy, graph = _copy(model)
    for name, value in (("first", first), ("second", second)):
        if not isinstance(value, int | np.integer) or not 0 <= value < graph.n_outputs:
            raise ValueError(f"{name} must be an int from 0 to {graph.n_outputs - 1}. Got {value!r}.")
    head = next(call.layer for call in graph.calls if graph.output in call.outputs)
    if not isinstance(head, layers.Dense):
        raise ValueError(
            f"The logits of {model.name} must come from a Dense layer. Got {head.name!r} ({type(head).__name__})."
        )
    order = np.arange(graph.n_outputs)
    order[[first, second]] = second, first
    head.set_weights([values[..., order] for values in head.get_weights()])
    return copy


def _copy(model):
    """A copy of a model and its graph, frozen layers thawed: constants that no training could move stay apart."""
    import keras

    from musictools.models.graph.reading import read

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    graph = read(copy)
    for call in graph.calls:
        if isinstance(call.layer, keras.Layer):
            call.layer.trainable = True
    return copy, graph


def _groups(graph):
    """Layers that are randomised together, in the order of computation."""
    from keras import layers

    makers = {value: call for call in graph.calls for value in call.outputs}
    groups, place = [], {}  # place: of a layer in groups, by id
    for call in graph.calls:
        layer = call.layer
        if id(layer) in place or not getattr(layer, "trainable_weights", []):
            continue
        # The nearest call before this one that has weights, as long as nothing between joins several inputs.
        before = makers.get(call.inputs[0])
        while before is not None and id(before.layer) not in place:
            before = makers.get(before.inputs[0]) if len(before.inputs) == 1 else None
        if isinstance(layer, layers.BatchNormalization) and before is not None:
            place[id(layer)] = place[id(before.layer)]
            groups[place[id(layer)]].append(layer)
        else:
            place[id(layer)] = len(groups)
            groups.append([layer])
    if not groups:
        raise ValueError(f"{graph.name} has no trainable weights to randomise.")
    return groups


def _estimate(graph, chosen, x):
    """Mean and variance of the chosen batch normalisations, each from what the changed layers before it give."""
    from keras import layers, ops

    values, left = {0: ops.convert_to_tensor(x, dtype="float32")}, graph.consumers()
    for call in graph.calls:
        layer, inputs = call.layer, [values[i] for i in call.inputs]
        if isinstance(layer, layers.BatchNormalization) and id(layer) in chosen:
            sides = len(inputs[0].shape)
            others = [axis for axis in range(sides) if axis != layer.axis % sides]
            if np.prod([inputs[0].shape[axis] for axis in others]) > 1:
                layer.moving_mean.assign(ops.mean(inputs[0], axis=others))
                layer.moving_variance.assign(ops.var(inputs[0], axis=others))
        values.update(zip(call.outputs, call(*inputs), strict=True))
        for value in call.inputs:
            left[value] -= 1
            if not left[value]:
                del values[value]
