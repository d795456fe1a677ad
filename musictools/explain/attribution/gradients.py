"""Attribution by derivatives of the network, or of a network whose ReLUs are changed.

Every function takes a `Differentiator`, x (n, ...) and targets (n, k, n_outputs), and returns maps (n, k, ...), float32
arrays. Sources: Simonyan et al. 2014 (gradient), Smilkov et al. 2017 (SmoothGrad), Sundararajan
et al. 2017 (integrated gradients), Springenberg et al. 2015 (guided backpropagation), Selvaraju et al. 2017 (Grad-CAM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from musictools.explain.attribution.baselines import baseline_values
from musictools.explain.attribution.canonisation import plan
from musictools.explain.attribution.method import Method
from musictools.explain.attribution.operations import Activation, Linear
from musictools.explain.attribution.rules import Pass
from musictools.models.graph.autodiff import compiled_arrays, pull

if TYPE_CHECKING:
    from musictools.models.graph.reading import Graph

__all__ = ["METHODS", "OPTIONS", "Differentiator", "stretched"]

OPTIONS = {
    "gradient": {},
    "input_x_gradient": {},
    "smooth_grad": {"n_samples": 16, "noise": 0.1},
    "integrated_gradients": {"steps": 32, "baseline": 0.0},
    "guided_backprop": {},
    "grad_cam": {"layer": None},
}


class Differentiator(Method):
    """A method that uses derivatives, prepared for one model.

    Parameters
    ----------
    graph : musictools.models.graph.reading.Graph
        The model.
    method : str
        One of `OPTIONS`.
    options : dict
        All of ``OPTIONS[method]``.
    seed : int
        Seed of the noise of SmoothGrad.

    Raises
    ------
    ValueError
        If `grad_cam` finds no feature maps, or `guided_backprop` a layer that has no rule.
    """

    def __init__(self, graph: Graph, method: str, options: dict[str, Any], seed: int):
        self.graph, self.method, self.options, self.seed = graph, method, options, seed
        if method == "guided_backprop":
            self.run = _guided(graph)
        elif method == "grad_cam":
            self.value = _last_map(graph, options["layer"])
        self._graphs = {}

    def maps(self, x, targets, offset):
        return METHODS[self.method](self, x, targets), None, None

    def slope(self, x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute the derivatives of the targets' logits with respect to the inputs.

        Parameters
        ----------
        x : np.ndarray [shape=(n, ...), float32]
            Inputs.
        targets : np.ndarray [shape=(n, k, n_outputs), float32]
            Combinations of outputs.

        Returns
        -------
        slope : np.ndarray [shape=(n, k, ...)]
        """
        k = targets.shape[1]
        if k not in self._graphs:
            run = getattr(self, "run", self.graph.run)

            def slope(x, targets):
                flat = ops.reshape(targets, (-1, self.graph.n_outputs))
                return pull(run, x if k == 1 else ops.repeat(x, k, axis=0), flat)

            self._graphs[k] = compiled_arrays(slope, (None, *self.graph.input_shape), (None, k, self.graph.n_outputs))
        return self._graphs[k](x, targets).reshape(len(x), k, *x.shape[1:])


def _gradient(self, x, targets):
    return self.slope(x, targets)


def _input_x_gradient(self, x, targets):
    return x[:, None] * self.slope(x, targets)


def _smooth_grad(self, x, targets):
    """Mean slope around x, the same noise for all samples; its deviation is a share of each sample's range."""
    rng = np.random.default_rng(self.seed)
    axes = tuple(range(1, x.ndim))
    scale = self.options["noise"] * np.ptp(x, axis=axes, keepdims=True)
    total = 0.0
    for _ in range(self.options["n_samples"]):
        total = total + self.slope((x + scale * rng.standard_normal(x.shape[1:])).astype(np.float32), targets)
    return total / np.float32(self.options["n_samples"])


def _integrated_gradients(self, x, targets):
    """Mean slope on the straight path from the baseline (trapezoidal rule), times the difference from the baseline.

    In a network that standardises its input, the path from 0 changes only the scale: choose another baseline there.
    """
    steps = self.options["steps"]
    baseline = baseline_values(x, self.options["baseline"], batch=True)
    total = 0.0
    for number in range(steps + 1):
        weight = np.float32((0.5 if number in (0, steps) else 1.0) / steps)
        total = total + weight * self.slope(baseline + np.float32(number / steps) * (x - baseline), targets)
    return (x - baseline)[:, None] * total


def _grad_cam(self, x, targets):
    """Positive part of the feature maps weighted by their mean slopes, interpolated to the size of the input."""
    k = targets.shape[1]
    if k not in self._graphs:

        def cam(x, targets):
            flat = ops.reshape(targets, (-1, self.graph.n_outputs))
            x = x if k == 1 else ops.repeat(x, k, axis=0)
            A = self.graph.run(x, upto=self.value)
            slope = pull(lambda A: self.graph.run(x, replace={self.value: A}), A, flat)
            weights = ops.mean(slope, axis=tuple(range(1, len(A.shape) - 1)), keepdims=True)
            return ops.maximum(ops.sum(weights * A, axis=-1, keepdims=True), 0.0)

        self._graphs[k] = compiled_arrays(cam, (None, *self.graph.input_shape), (None, k, self.graph.n_outputs))
    small = self._graphs[k](x, targets)
    if small.ndim > x.ndim:  # a spectrogram inside a network that takes waveforms
        small = small.mean(axis=1)
    return stretched(small, x.shape[1:-1]).reshape(len(x), k, *x.shape[1:-1], 1) * np.ones(x.shape[-1], np.float32)


def stretched(small: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Interpolate maps linearly to other sides.

    Parameters
    ----------
    small : np.ndarray [shape=(n, *small_sides, 1)]
        Maps.
    sides : tuple of int
        The new sides.

    Returns
    -------
    maps : np.ndarray [shape=(n, *sides, 1)]
    """
    for axis, side in enumerate(sides, start=1):
        at = np.clip((np.arange(side) + 0.5) * small.shape[axis] / side - 0.5, 0, small.shape[axis] - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, small.shape[axis] - 1)
        part = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(small.ndim)])
        small = np.take(small, low, axis=axis) * (1 - part) + np.take(small, high, axis=axis) * part
    return small


METHODS = {
    "gradient": _gradient,
    "input_x_gradient": _input_x_gradient,
    "smooth_grad": _smooth_grad,
    "integrated_gradients": _integrated_gradients,
    "guided_backprop": _gradient,
    "grad_cam": _grad_cam,
}


def _guided(graph):
    """The network as a function whose ReLUs pass only positive slopes back."""
    made = plan(graph)
    for operation in made.operations:
        if isinstance(operation, Linear):
            operation.prepare(Pass())
    guided = {s.output for s in made.on_path() if type(s) is Activation}

    def run(x):
        values = {0: x}
        for operation in made.operations:
            forward = _positive_only(operation.forward) if operation.output in guided else operation.forward
            values[operation.output] = forward(*(values[i] for i in operation.inputs))
        return values[made.operations[-1].output]

    return run


def _positive_only(function):
    @ops.custom_gradient
    def forward(x):
        def grad(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            return pull(function, x, ops.maximum(upstream, 0.0))

        return function(x), grad

    return forward


def _last_map(graph, name):
    """The value that holds a layer's feature maps, by default those of the last layer that has any."""
    rank = max(3, len(graph.input_shape) + 1)
    if name is not None:
        call = graph.find(name)
        if len(call.node.outputs[0].shape) < rank:
            raise ValueError(
                f"layer must have feature maps over the input's axes. Got {name!r} with output "
                f"{call.node.outputs[0].shape}."
            )
        return call.outputs[0]
    for call in reversed(graph.calls):
        if hasattr(call.layer, "kernel_size") and len(call.node.outputs[0].shape) >= rank:
            return call.outputs[0]
    raise ValueError(f"{graph.name} has no convolution over the input's axes, grad_cam needs one.")
