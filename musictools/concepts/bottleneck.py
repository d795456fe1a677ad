"""A named layer of a network, between its activations and its logits: what concepts are vectors of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from musictools.models.graph.autodiff import compiled_arrays, pull
from musictools.models.graph.reading import read

__all__ = ["Bottleneck"]

POOLS = ("time", "all", "none")


class Bottleneck:
    """Activations of a layer, and derivatives of the logits with respect to them.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input and one output (n, n_outputs). A sigmoid or softmax at its end is left
        out: derivatives are those of logits, since those of probabilities vanish where the network is sure.
    layer : str or None
        Name of a layer. None: the last one with a time axis.
    batch_size : int > 0

    Attributes
    ----------
    layer : str
        Name of the layer.
    shape : tuple of int
        Shape of its activations, without the batch.
    n_features : int
        Length of the vectors.
    n_outputs : int
        Number of logits.

    Raises
    ------
    ValueError
        If the model cannot be read, has no such layer, or `pool` is unknown.

    Examples
    --------
    >>> inputs = keras.Input((4, 6, 1))
    >>> x = keras.layers.Conv2D(2, 1, name="conv")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    >>> bottleneck = Bottleneck(model)
    >>> bottleneck.layer, bottleneck.shape, bottleneck.n_features
    ('conv', (4, 6, 2), 48)
    >>> bottleneck.gradients(np.ones((5, 4, 6, 1)), [0, 1, 2, 0, 1]).shape
    (5, 48)
    """

    def __init__(self, model: keras.Model, layer: str | None = None, *, batch_size: int = 64):
        graph = read(model)
        call = graph.find(layer) if layer is not None else _last_over_time(graph)
        self._graph, self._value, self._batch_size = graph, call.outputs[0], int(batch_size)
        self.layer, self.n_outputs, self.input_shape = call.name, graph.n_outputs, graph.input_shape
        self.shape = tuple(call.node.outputs[0].shape[1:])
        self.n_features = int(np.prod(self.shape))
        shape = (None, *graph.input_shape)
        self._activate = compiled_arrays(lambda x: self._flat(graph.run(x, upto=self._value)), shape)
        self._differentiate = compiled_arrays(self._slope, shape, (None, graph.n_outputs))

    def activations(self, x: np.ndarray | Iterable[np.ndarray]) -> np.ndarray:
        """Activations as vectors.

        Parameters
        ----------
        x : np.ndarray [shape=(n, *input_shape)] or iterable of such
            All inputs, or batches of them.

        Returns
        -------
        vectors : np.ndarray [shape=(n, n_features), float32]
        """
        batches = self._batches(x) if isinstance(x, np.ndarray) else x
        return np.concatenate([self._activate(batch) for batch in batches])

    def gradients(self, x: np.ndarray, outputs: Any) -> np.ndarray:
        """Derivatives of one logit of every input with respect to its vector.

        Parameters
        ----------
        x : np.ndarray [shape=(n, *input_shape)]
        outputs : int or sequence of int [shape=(n,)]
            The logits.

        Returns
        -------
        gradients : np.ndarray [shape=(n, n_features), float32]

        Raises
        ------
        ValueError
            If an output does not exist.
        """
        outputs = np.broadcast_to(np.asarray(outputs, int), (len(x),))
        if outputs.size and not 0 <= outputs.min() <= outputs.max() < self.n_outputs:
            raise ValueError(f"outputs must be ints from 0 to {self.n_outputs - 1}. Got {np.unique(outputs)}.")
        chosen = np.eye(self.n_outputs, dtype=np.float32)[outputs]
        pairs = zip(self._batches(np.asarray(x)), self._batches(chosen), strict=True)
        return np.concatenate([self._differentiate(*pair) for pair in pairs])

    def pooled(self, vectors: np.ndarray, pool: str = "time") -> np.ndarray:
        """Average activations over time, so that it does not matter when something happens.

        Parameters
        ----------
        vectors : np.ndarray [shape=(n, n_features)]
            From `activations`.
        pool : {"time", "all", "none"}
            Average activations (n, n_bins, n_frames, channels) over frames, over bins and frames, or not at all.
            Without effect where the layer has no time axis.

        Returns
        -------
        pooled : np.ndarray [shape=(n, n_pooled)]

        Raises
        ------
        ValueError
            If `pool` is unknown.
        """
        if pool not in POOLS:
            raise ValueError(f"pool must be one of {', '.join(POOLS)}. Got {pool!r}.")
        if pool == "none" or len(self.shape) < 2:
            return vectors
        axes = (1,) if len(self.shape) == 2 else (2,) if pool == "time" else (1, 2)
        pooled = vectors.reshape(-1, *self.shape).mean(axis=axes)
        return pooled.reshape(len(pooled), -1)

    def _slope(self, x, chosen):
        a = self._graph.run(x, upto=self._value)
        return self._flat(pull(lambda a: self._graph.run(x, replace={self._value: a}), a, chosen))

    def _flat(self, a):
        return ops.reshape(a, (-1, self.n_features))

    def _batches(self, x):
        return (x[start : start + self._batch_size] for start in range(0, len(x), self._batch_size))


def _last_over_time(graph):
    """The last call whose output has a time axis; of one input with no such layer, the last before the logits."""
    over_time = [call for call in graph.calls if len(call.node.outputs[0].shape) > 2]
    if over_time:
        return over_time[-1]
    before = [call for call in graph.calls if call.outputs[0] != graph.output]
    if not before:
        raise ValueError(f"{graph.name} has no layer before its logits. Name one with layer=.")
    return before[-1]
