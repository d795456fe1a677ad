"""Relevance propagation the slow way: every linear layer as one explicit matrix, every rule a loop over its neurons.

Written from the papers and Zennit's definitions, with nothing of `musictools.explain`. A network is a list of
``(name, layer, *names of inputs)``; without names a layer takes the output of the one before, "x" is the input.
Layers are Keras's, of which `model` makes a Keras model too, or a `Matrix` that stands for one folded by hand.
A linear layer's matrix is what it makes of unit vectors. Numbers are float64, samples come one by one and flat.
"""

from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers

MOVES = (
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Concatenate,
    layers.Dropout,
    layers.RepeatVector,
)
SUMS = (layers.Add, layers.Average, layers.Subtract)
ACTIVATIONS = (layers.ReLU, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.Activation)
MAXIMA = (layers.MaxPooling1D, layers.MaxPooling2D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D)
MEANS = (layers.AveragePooling1D, layers.AveragePooling2D, layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)


NOT_REPORTED = ("pass", "move", "maximum", "gate")


@dataclass
class Matrix:
    """A layer given as its matrices, one for every input, and a bias."""

    kind: str
    matrices: list
    bias: object
    shape: tuple


@dataclass
class Operator:
    """A function of tensors that stands in a list of layers; `windows` as those of a maximum pooling."""

    kind: str
    function: object
    windows: list = field(default_factory=list)

    def __call__(self, given):
        return self.function(*given) if isinstance(given, list) else self.function(given)


@dataclass
class Node:
    name: str
    kind: str  # dense, conv, pool, sum, scale, move, pass, maximum or gate
    inputs: tuple
    shape: tuple
    matrices: list = field(default_factory=list)
    bias: object = None
    forward: object = None
    windows: list = field(default_factory=list)
    seen: object = None  # where the layer sees the input itself: which values are the input's (1) and which padding (0)
    moved: object = None  # the same of its output, where it only moves them


def spelled(spec):
    """Every layer with the names of its inputs."""
    before, lines = "x", []
    for name, layer, *inputs in spec:
        lines.append((name, layer, tuple(inputs) or (before,)))
        before = name
    return lines


def model(shape, spec, head=None):
    """The list as a Keras model whose layers have the list's names."""
    tensors = {"x": layers.Input(shape)}
    for name, layer, inputs in spelled(spec):
        layer.name = name
        given = [tensors[i] for i in inputs]
        tensors[name] = layer(given[0] if len(given) == 1 else given)
    end = tensors[name] if head is None else layers.Activation(head)(tensors[name])
    return keras.Model(tensors["x"], end)


def plain(layer):
    """The same layer without its activation."""
    if getattr(layer, "activation", None) in (None, keras.activations.linear):
        return layer
    twin = type(layer).from_config({**layer.get_config(), "activation": None, "name": None})
    twin.build(layer.input.shape)
    twin.set_weights(layer.get_weights())
    return twin


def matrices(layer, *shapes):
    """Matrices (n_outputs, n_inputs) of a linear layer for each of its inputs, its bias and its output's shape."""
    layer = plain(layer)

    def call(parts):
        return np.asarray(layer(parts[0] if len(parts) == 1 else parts), dtype=np.float64)

    nothing = call([np.zeros((1, *s), np.float32) for s in shapes])[0]
    found = []
    for i, shape in enumerate(shapes):
        size = int(np.prod(shape))
        units = [
            np.eye(size, dtype=np.float32).reshape(size, *shape) if j == i else np.zeros((size, *s), np.float32)
            for j, s in enumerate(shapes)
        ]
        found.append((call(units) - nothing).reshape(size, -1).T)
    return found, nothing.ravel(), nothing.shape


def normalisation(layer, shape):
    """a and b of a batch normalisation a x + b, for every value of a map of this shape."""
    gamma, beta, mean, variance = (
        default if w is None else np.asarray(w, dtype=np.float64)
        for w, default in (
            (layer.gamma, 1.0),
            (layer.beta, 0.0),
            (layer.moving_mean, None),
            (layer.moving_variance, None),
        )
    )
    a = gamma / np.sqrt(variance + layer.epsilon)
    return np.broadcast_to(a, shape).ravel(), np.broadcast_to(beta - mean * a, shape).ravel()


def windows(layer, shape):
    """For every output of a maximum pooling the indices of the inputs that it sees, as flat numbers."""
    sides, channels = shape[:-1], shape[-1]
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    if "Global" in type(layer).__name__:
        return [numbers[..., c].ravel() for c in range(channels)], (channels,)
    size, strides = (tuple(np.broadcast_to(v, len(sides))) for v in (layer.pool_size, layer.strides))
    starts = []
    for n, p, s in zip(sides, size, strides, strict=True):
        count = -(-n // s) if layer.padding == "same" else (n - p) // s + 1
        left = max((count - 1) * s + p - n, 0) // 2 if layer.padding == "same" else 0
        starts.append([i * s - left for i in range(count)])
    found, lengths = [], tuple(map(len, starts))
    for place in np.ndindex(*lengths):
        box = tuple(
            slice(max(s[i], 0), min(s[i] + p, n)) for s, i, p, n in zip(starts, place, size, sides, strict=True)
        )
        found += [numbers[(*box, c)].ravel() for c in range(channels)]
    return found, (*lengths, channels)


class Reference:
    """A network as nodes; `relevance` explains one sample."""

    def __init__(self, shape, spec):
        self.shape, self.nodes = shape, {}
        for name, layer, inputs in spelled(spec):
            self.add(name, layer, inputs)
        if (end := self.nodes[name]).kind != "dense":
            self.nodes["output"] = Node(
                "output", "dense", (name,), end.shape, [np.eye(end.shape[0])], np.zeros(end.shape[0])
            )

    def shape_of(self, name):
        return self.shape if name == "x" else self.nodes[name].shape

    def add(self, name, layer, inputs):
        shapes = [self.shape_of(i) for i in inputs]
        if isinstance(layer, Matrix):
            node = Node(name, layer.kind, inputs, layer.shape, layer.matrices, layer.bias)
        elif isinstance(layer, Operator) and layer.kind in ("pass", "gate", "maximum"):
            nothing = [np.zeros((1, *s), np.float32) for s in shapes]
            shape = tuple(layer(nothing if len(nothing) > 1 else nothing[0]).shape[1:])
            node = Node(name, layer.kind, inputs, shape, forward=layer, windows=layer.windows)
        elif isinstance(layer, MAXIMA):
            found, shape = windows(layer, shapes[0])
            node = Node(name, "maximum", inputs, shape, windows=found, forward=layer)
        elif isinstance(layer, ACTIVATIONS):
            node = Node(name, "pass", inputs, shapes[0], forward=layer)
        elif isinstance(layer, layers.Multiply):
            node = Node(name, "gate", inputs, shapes[0], forward=layer)
        else:
            copies = getattr(layer, "interpolation", "") == "nearest"
            kind = (
                layer.kind
                if isinstance(layer, Operator)
                else "move"
                if isinstance(layer, MOVES) or copies
                else "sum"
                if isinstance(layer, SUMS)
                else "pool"
                if isinstance(layer, MEANS) or hasattr(layer, "interpolation")
                else "dense"
                if isinstance(layer, layers.Dense)
                else "conv"
            )
            found, bias, shape = matrices(layer, *shapes)
            node = Node(name, kind, inputs, shape, found, bias)
        moved = [np.ones(int(np.prod(self.shape))) if i == "x" else self.nodes[i].moved for i in inputs]
        if all(m is not None for m in moved):
            node.seen = np.concatenate(moved)
            node.moved = sum(M @ m for M, m in zip(node.matrices, moved, strict=True)) if node.kind == "move" else None
        activation = getattr(layer, "activation", None)
        if node.kind in ("dense", "conv") and activation not in (None, keras.activations.linear):
            node.name = f"{name} linear"
            self.nodes[node.name] = node
            node = Node(name, "pass", (f"{name} linear",), node.shape, forward=activation)
        self.nodes[name] = node

    def forward(self, x):
        """All values by name, flat."""
        values = {"x": np.asarray(x, dtype=np.float64).ravel()}
        for node in self.nodes.values():
            given = [values[i] for i in node.inputs]
            if node.matrices:
                values[node.name] = sum(M @ v for M, v in zip(node.matrices, given, strict=True)) + node.bias
            elif node.kind == "maximum":
                values[node.name] = np.array([given[0][w].max() for w in node.windows])
            else:
                shaped = [
                    v.reshape(1, *self.shape_of(i)).astype(np.float32) for v, i in zip(given, node.inputs, strict=True)
                ]
                y = node.forward(shaped[0] if len(shaped) == 1 else shaped)
                values[node.name] = np.asarray(y, dtype=np.float64).ravel()
        return values

    def relevance(self, x, target, choose, *, offset=0.0, positive_only=False):
        """Relevance of one sample.

        Parameters
        ----------
        x : array [shape of the input]
        target : array [shape=(n_outputs,)]
            Combination of outputs that is explained.
        choose : callable
            Node -> rule, a function of (x, M, b, R).
        offset : float
            Taken off the target's logit.
        positive_only : bool
            Nothing is explained where that is negative.

        Returns
        -------
        relevance : array [shape of the input]
        logit : float
        amounts : dict of str to (float, float)
            What arrived at each layer and what it passed on.
        """
        values, (*_, last) = self.forward(x), self.nodes.values()
        M, b = target @ last.matrices[0], target @ last.bias - offset
        logit = M @ values[last.inputs[0]] + b
        start = np.array([max(logit, 0.0) if positive_only else logit])
        found = {last.inputs[0]: choose(last)(values[last.inputs[0]], M[None], np.array([b]), start)}
        amounts = {last.name: (start.sum(), found[last.inputs[0]].sum())}
        for node in list(self.nodes.values())[-2::-1]:
            if node.name not in found:
                continue
            R, xs = found.pop(node.name), [values[i] for i in node.inputs]
            parts = self.back(node, xs, R, choose)
            if node.kind not in NOT_REPORTED:
                amounts[node.name] = R.sum(), sum(p.sum() for p in parts if p is not None)
            for name, part in zip(node.inputs, parts, strict=True):
                if part is not None:
                    found[name] = found.get(name, 0.0) + part
        return found["x"].reshape(self.shape), logit, amounts

    def back(self, node, xs, R, choose):
        if node.kind == "pass":
            return [R]
        if node.kind == "gate":
            return [R, None]  # the first input is the signal
        if node.kind == "move":
            return [M.T @ R for M in node.matrices]
        if node.kind == "maximum":
            part = np.zeros_like(xs[0])
            for r, window in zip(R, node.windows, strict=True):
                winners = window[xs[0][window] == xs[0][window].max()]  # several where all are 0: of a global maximum
                if "Global" not in type(node.forward).__name__:  # they share, else the first takes all
                    winners = winners[:1]
                part[winners] += r / len(winners)
            return [part]
        together = choose(node)(np.concatenate(xs), np.hstack(node.matrices), node.bias, R)
        return np.split(together, np.cumsum([x.size for x in xs])[:-1])


# -- rules: (x, M, b, R) -> relevance of x, a loop over the neurons j ------------------------------------------------


def epsilon(eps=1e-6):
    def rule(x, M, b, R):
        given = np.zeros_like(x)
        for j in range(len(R)):
            z = M[j] @ x + b[j]
            given += M[j] * x / (z + (eps if z >= 0 else -eps)) * R[j]
        return given

    return rule


def z_plus(x, M, b, R):
    return alone(lambda j: np.maximum(M[j] * x, 0), x, R)


def alpha_beta(alpha=2.0):
    def rule(x, M, b, R):
        given = np.zeros_like(x)
        for j in range(len(R)):
            up, down = np.maximum(M[j] * x, 0), np.minimum(M[j] * x, 0)
            above, below = up.sum() + max(b[j], 0), down.sum() + min(b[j], 0)
            if above > 0 and below < 0:
                given += (alpha * up / above - (alpha - 1) * down / below) * R[j]
            elif above > 0:
                given += up / above * R[j]
            elif below < 0:
                given += down / below * R[j]
        return given

    return rule


def gamma(strength=0.25):
    """Zennit's for inputs of either sign: contributions of the output's own sign count 1 + gamma times."""

    def rule(x, M, b, R):
        given = np.zeros_like(x)
        for j in range(len(R)):
            pick = np.maximum if M[j] @ x + b[j] >= 0 else np.minimum
            parts = M[j] * x + strength * pick(M[j] * x, 0)
            total = parts.sum() + b[j] + strength * pick(b[j], 0)
            if total != 0:
                given += parts / total * R[j]
        return given

    return rule


def z_box(low, high):
    def rule(x, M, b, R):
        return alone(lambda j: M[j] * x - np.maximum(M[j], 0) * low - np.minimum(M[j], 0) * high, x, R)

    return rule


def w_square(x, M, b, R):
    return alone(lambda j: M[j] ** 2, x, R)


def flat(x, M, b, R):
    return alone(lambda j: (M[j] != 0).astype(float), x, R)


def passing(x, M, b, R):
    return R


def alone(parts_of, x, R):
    """Relevance in proportion to parts that have the denominator for themselves."""
    given = np.zeros_like(x)
    for j in range(len(R)):
        parts = parts_of(j)
        if parts.sum() != 0:
            given += parts / parts.sum() * R[j]
    return given


def chooser(method, *, low=0.0, high=1.0, rules=None, **options):
    """The rule of every node for a method of the suite, from its documentation."""
    eps, g, alpha = options.get("epsilon", 1e-6), options.get("gamma", 0.25), options.get("alpha", 2.0)
    named = {
        "epsilon": epsilon(eps),
        "gamma": gamma(g),
        "alpha_beta": alpha_beta(alpha),
        "z_plus": z_plus,
        "w_square": w_square,
        "flat": flat,
        "pass": passing,
    }
    everywhere = {"lrp_epsilon": "epsilon", "lrp_gamma": "gamma", "lrp_alpha_beta": "alpha_beta"}

    def name_of(node):
        if rules and node.name.removesuffix(" linear") in rules:
            return rules[node.name.removesuffix(" linear")]
        if node.kind == "scale":
            return "pass" if method.startswith("deep_taylor") or not np.any(node.bias) else "epsilon"
        if method == "lrp_composite":
            kinds = {"conv": options.get("conv", "gamma"), "dense": options.get("dense", "epsilon")}
            return options.get("input", "z_box") if node.seen is not None else kinds.get(node.kind, "epsilon")
        if method == "deep_taylor_bounded" and node.seen is not None:
            return "z_box"
        return everywhere.get(method, "z_plus")

    def rule_of(node):
        name = name_of(node)
        return z_box(low * node.seen, high * node.seen) if name == "z_box" else named[name]

    return rule_of
