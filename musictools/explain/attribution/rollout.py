"""Attention rollout (Abnar and Zuidema 2020), a baseline for networks with self-attention.

The weights of every layer of attention are averaged over its heads, half of the unit matrix stands for the connection
around the layer, and the products of all layers say how much every token takes from every token of the first layer. The
map is the mean over the tokens that the logits depend on. It does not know which output is explained, what the
values are, or what comes before the first attention and after the last.

Tokens are taken as steps in time: their weights are interpolated to the input's time axis and alike for all its bands.
Learned tokens (`musictools.models.layers.ClassToken`) are left out, as no part of the input stands for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import layers, ops

from musictools.explain.attribution.gradients import stretched
from musictools.explain.attribution.method import Method
from musictools.models.graph.autodiff import compiled_arrays, pull
from musictools.models.graph.reading import calls_before
from musictools.models.layers import ClassToken

if TYPE_CHECKING:
    from musictools.models.graph.reading import Graph

__all__ = ["OPTIONS", "Rollout"]

OPTIONS = {"attention_rollout": {}}


class Rollout(Method):
    """Attention rollout, prepared for one model.

    Parameters
    ----------
    graph : musictools.models.graph.reading.Graph
        The model.

    Raises
    ------
    ValueError
        If the model has no self-attention, or its layers of attention see different numbers of tokens.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.attentions = [call for call in graph.calls if type(call.layer) is layers.MultiHeadAttention]
        if not self.attentions:
            raise ValueError(f"{graph.name} has no multi-head attention, attention_rollout needs it.")
        tokens = {shape[0] for call in self.attentions for shape in call.shapes()}
        if any(len(set(call.inputs)) != 1 or len(call.shapes()[0]) != 2 for call in self.attentions) or len(tokens) > 1:
            raise ValueError(
                f"attention_rollout needs layers of attention in which the same tokens attend to each other. Layer "
                f"{self.attentions[0].name!r} of {graph.name} or one after it sees others."
            )
        before = calls_before(graph.calls, self.attentions[0].inputs[0])
        self.n_learned = sum(isinstance(call.layer, ClassToken) for call in before)
        self._run = compiled_arrays(self._tokens, (None, *graph.input_shape))

    def maps(self, x, targets, offset):
        weights = self._run(x)[:, self.n_learned :]
        time = 1 if x.ndim == 4 else 0  # among the input's axes
        sides = x.shape[1:-1]
        small = weights.reshape(len(x), *(-1 if axis == time else 1 for axis in range(len(sides))), 1)
        maps = stretched(small, sides) * np.ones(x.shape[1:], np.float32)
        return np.repeat(maps[:, None], targets.shape[1], axis=1), None, None

    def _tokens(self, x):
        """How much the logits' tokens take from every token of the first layer of attention."""
        values, rolled = {0: x}, None
        for call in self.graph.calls:
            given = [values[i] for i in call.inputs]
            values.update(zip(call.outputs, call(*given), strict=True))
            if call in self.attentions:
                step = self._mixed(call, given)
                rolled = step if rolled is None else ops.matmul(step, rolled)
        number = self.attentions[-1].outputs[0]
        outputs = ops.ones((ops.shape(x)[0], 1)) * ops.linspace(1.0, 2.0, self.graph.n_outputs)
        slope = pull(lambda y: self.graph.run(x, replace={number: y}), values[number], outputs)
        read = ops.cast(ops.any(slope != 0, axis=-1), "float32")
        return ops.einsum("nt,nts->ns", read / ops.maximum(ops.sum(read, axis=-1, keepdims=True), 1.0), rolled)

    @staticmethod
    def _mixed(call, given):
        """Weights averaged over heads, and half of the unit matrix for the connection around the layer."""
        known = {id(k): t for k, t in zip(call.node.input_tensors, given, strict=True)}
        arguments, options = call.node.arguments.fill_in(known)
        _, weights = call.layer(*arguments, **{**options, "return_attention_scores": True})
        mean = ops.mean(weights, axis=1)
        return 0.5 * mean + 0.5 * ops.eye(mean.shape[-1])
