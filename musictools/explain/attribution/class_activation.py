"""Class activation maps (Zhou et al. 2016) of networks that end in global average pooling and one dense layer.

The logit of output c is b_c + mean over positions of sum over maps of w_kc A_k. The map of output c is the sum over
maps of w_kc A_k / n at each of the n positions, so it sums to the logit minus the bias. Each position's value is
then distributed over the cells of the input: linear interpolation, with weights that keep the sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import layers, ops

from musictools.explain.attribution.gradients import stretched
from musictools.explain.attribution.method import Method
from musictools.models.graph.autodiff import compiled_arrays

if TYPE_CHECKING:
    from musictools.models.graph.reading import Graph

__all__ = ["OPTIONS", "ClassActivation"]

OPTIONS = {"cam": {}}
_POOLINGS = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)
_NEUTRAL = (layers.Dropout, layers.Identity, layers.Flatten)  # change nothing between pooling and dense layer


class ClassActivation(Method):
    """Class activation maps, prepared for one model.

    Parameters
    ----------
    graph : musictools.models.graph.reading.Graph
        The model.

    Raises
    ------
    ValueError
        If the model does not end in global average pooling and one dense layer.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        before = {number: call for call in graph.calls for number in call.outputs}
        self.dense = before.get(graph.output)
        pooling = self.dense and before.get(self.dense.inputs[0])
        while pooling and type(pooling.layer) in _NEUTRAL:
            pooling = before.get(pooling.inputs[0])
        if not (
            pooling
            and type(self.dense.layer) is layers.Dense
            and type(pooling.layer) in _POOLINGS
            and pooling.layer.data_format == "channels_last"
        ):
            raise ValueError(
                f"{graph.name} must end in global average pooling over maps with channels last and one dense layer, "
                "which cam needs. grad_cam works with any convolution."
            )
        self.maps_value = pooling.inputs[0]
        self._run = compiled_arrays(self._small, (None, *graph.input_shape), (None, None, graph.n_outputs))

    def maps(self, x, targets, offset):
        small = self.small(x, targets)
        k, sides = targets.shape[1], x.shape[1:-1]
        small = small.reshape(len(x) * k, *small.shape[2:], 1)
        if small.ndim > x.ndim:  # a spectrogram inside a network that takes waveforms
            small = small.sum(axis=1)
        return (
            _spread(small, sides).reshape(len(x), k, *sides, 1) * np.full(x.shape[-1], 1 / x.shape[-1], np.float32),
            None,
            None,
        )

    def small(self, x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute the maps at the resolution of the feature maps.

        Parameters
        ----------
        x : np.ndarray [shape=(n, *input_shape), float32]
            Inputs.
        targets : np.ndarray [shape=(n, k, n_outputs), float32]
            Combinations of outputs.

        Returns
        -------
        maps : np.ndarray [shape=(n, k, *map_shape)]
            Each sums to the target's logit minus its bias.
        """
        return self._run(x, targets)

    def _small(self, x, targets):
        A = self.graph.run(x, upto=self.maps_value)
        weights = ops.einsum("nqo,ko->nqk", targets, ops.convert_to_tensor(self.dense.layer.kernel))
        subscripts = "nab" if len(A.shape) == 4 else "na"
        positions = int(np.prod(A.shape[1:-1]))
        return ops.einsum(f"{subscripts}k,nqk->nq{subscripts[1:]}", A, weights) / positions


def _spread(small, sides):
    """Distribute values over larger or smaller sides, as `stretched` interpolates, but with the same sum."""
    for axis, side in enumerate(sides, start=1):
        unit = np.eye(small.shape[axis], dtype=np.float32)[..., None]  # every position alone
        weights = stretched(unit, (side,))[..., 0]
        if side < small.shape[axis]:  # interpolation would skip positions
            edges = np.arange(small.shape[axis]) * side // small.shape[axis]
            weights = (edges[:, None] == np.arange(side)).astype(np.float32)
        weights /= weights.sum(axis=1, keepdims=True)
        small = np.moveaxis(np.tensordot(small, weights, axes=(axis, 0)), -1, axis)
    return small
