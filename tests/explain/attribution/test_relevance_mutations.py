"""Every rule of the propagation broken on purpose: for each mistake a named check against the reference must fail.

A mistake is a function that patches the propagation. The check that is meant to see it passes without the mistake.
"""

from dataclasses import replace

import pytest
from keras import ops
from support.networks import check, eagerly

from musictools.explain.attribution import canonisation, explainer, operations, propagation, rules
from musictools.explain.attribution.operations import repeat
from musictools.models.graph.autodiff import pull

MISTAKES = {}


def seen_by(network, method, **options):
    """Register a mistake under its function's name, with the check that sees it."""

    def register(function):
        MISTAKES[function.__name__] = function, (network, method), options
        return function

    return register


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


# -- rules ------------------------------------------------------------------------------------------------------------


@seen_by("conv2d", "deep_taylor", probability=0.02)
def z_plus_takes_all_weights(patch):
    patch.setattr(rules.ZPlus, "needs_minus", True)
    patch.setattr(
        rules.ZPlus,
        "groups",
        lambda self, xs, ws, bias, z, positive: [rules.Group([(xs, [w["plus"] + w["minus"] for w in ws])])],
    )


@seen_by("conv2d", "lrp_alpha_beta")
def plus_and_minus_are_swapped(patch):
    signed = rules.Signed.prepare
    patch.setattr(
        rules.Signed,
        "prepare",
        lambda self, w: dict(zip(("minus", "plus"), (signed(self, w)["plus"], signed(self, w)["minus"]), strict=True)),
    )


@seen_by("dense", "deep_taylor", signed=True, probability=0.02)
def negative_inputs_count_as_none(patch):
    patch.setattr(
        rules.Signed,
        "excitation",
        staticmethod(lambda xs, ws, positive: [([ops.maximum(x, 0.0) for x in xs], [w["plus"] for w in ws])]),
    )


@seen_by("maxima", "lrp_alpha_beta", signed=True)
def inhibition_by_negative_inputs_is_forgotten(patch):
    patch.setattr(
        rules.Signed,
        "inhibition",
        staticmethod(lambda xs, ws, positive: [([ops.maximum(x, 0.0) for x in xs], [w["minus"] for w in ws])]),
    )


@seen_by("conv2d", "deep_taylor", probability=0.02)
def z_plus_divides_by_the_bias_too(patch):
    patch.setattr(
        rules.ZPlus,
        "groups",
        lambda self, xs, ws, bias, z, positive: [rules.Group(self.excitation(xs, ws, positive), bias)],
    )


@seen_by("conv2d", "lrp_gamma")
def gamma_favours_the_wrong_weights(patch):
    patch.setattr(
        rules.Gamma,
        "prepare",
        lambda self, w: {"plus": w + self.gamma * ops.minimum(w, 0.0), "minus": w + self.gamma * ops.maximum(w, 0.0)},
    )


@seen_by("linear", "lrp_gamma")
def gamma_treats_negative_outputs_as_positive_ones(patch):
    groups = rules.Gamma.groups
    patch.setattr(
        rules.Gamma, "groups", lambda self, xs, ws, bias, z, positive: groups(self, xs, ws, bias, ops.abs(z), positive)
    )


@seen_by("conv1d", "lrp_epsilon", epsilon=0.05)
def epsilon_has_the_wrong_sign(patch):
    rule = propagation._Chooser.rule
    patch.setattr(propagation._Chooser, "rule", lambda self, wanted: replace(rule(self, wanted), epsilon=-0.05))


@seen_by("conv1d", "lrp_epsilon", epsilon=0.05)
def epsilon_forgets_the_bias(patch):
    patch.setattr(
        rules.Epsilon, "groups", lambda self, xs, ws, bias, z, positive: [rules.Group([(xs, [w["w"] for w in ws])])]
    )


@seen_by("maxima", "lrp_alpha_beta")
def neurons_with_one_sign_only_lose_the_other_share(patch):
    groups = rules.AlphaBeta.groups
    patch.setattr(rules.AlphaBeta, "groups", lambda *a: [replace(g, alone=None) for g in groups(*a)])


@seen_by("conv2d", "lrp_alpha_beta")
def beta_is_alpha(patch):
    groups = rules.AlphaBeta.groups
    patch.setattr(
        rules.AlphaBeta,
        "groups",
        lambda self, *a: [g if g.share > 0 else replace(g, share=-self.alpha) for g in groups(self, *a)],
    )


@seen_by("conv2d", "deep_taylor_bounded", probability=0.02)
def bounds_are_swapped(patch):
    bounded = rules.ZBox.bounded
    patch.setattr(rules.ZBox, "bounded", lambda self, xs, ws, lows, highs: bounded(self, xs, ws, highs, lows))


@seen_by("moves", "deep_taylor_bounded", probability=0.02)
def padding_has_the_inputs_bounds(patch):
    patch.setattr(
        propagation,
        "_bound",
        lambda operation, bound, x: ops.zeros_like(operation.forward(*bound)) + bound[0][0, 0, 0, 0],
    )


@seen_by("conv2d", "lrp_composite", input="w_square")
def w_square_is_not_squared(patch):
    patch.setattr(rules.WSquare, "prepare", lambda self, w: {"square": ops.abs(w)})


@seen_by("conv2d", "lrp_composite", input="flat")
def flat_looks_at_the_input(patch):
    patch.setattr(
        rules.Flat, "groups", lambda self, xs, ws, bias, z, positive: [rules.Group([(xs, [w["one"] for w in ws])])]
    )


# -- operations -------------------------------------------------------------------------------------------------------


@seen_by("maxima", "deep_taylor", probability=0.02)
def pooling_shares_alike(patch):
    def backward(self, xs, y, relevance, k):
        layer, x = self.forward, repeat(xs[0], k)
        if not hasattr(layer, "pool_size"):
            return [pull(lambda v: ops.mean(v, axis=(1,)), x, relevance)], None
        options = {"strides": layer.strides, "padding": layer.padding}
        return [pull(lambda v: ops.average_pool(v, layer.pool_size, **options), x, relevance)], None

    patch.setattr(operations.MaxPool, "backward", backward)


@seen_by("means", "deep_taylor", probability=0.02)
def mean_pooling_does_not_look_at_sizes(patch):
    backward = operations.Linear.backward
    patch.setattr(
        operations.Linear,
        "backward",
        lambda self, xs, y, relevance, k, **more: (
            ([self._transposed(repeat(xs[0], k), self._w[0], relevance)], None)
            if self.kind == "pool"
            else backward(self, xs, y, relevance, k, **more)
        ),
    )


@seen_by("norm_after", "lrp_gamma")
def height_and_width_are_swapped_on_the_way_back(patch):
    transposed = operations.Linear._transposed
    patch.setattr(
        operations.Linear,
        "_transposed",
        lambda self, x, w, s: transposed(
            self, x, ops.swapaxes(w, 0, 1) if len(w.shape) == 4 and w.shape[0] == w.shape[1] else w, s
        ),
    )


@seen_by("dense", "lrp_epsilon")
def inputs_are_not_multiplied(patch):
    transposed = operations.Linear._transposed
    patch.setattr(
        operations.Linear, "_transposed", lambda self, x, w, s: ops.divide_no_nan(transposed(self, x, w, s), x)
    )


@seen_by("residual", "lrp_epsilon")
def a_sum_gives_all_to_everyone(patch):
    backward = operations.Linear.backward
    patch.setattr(
        operations.Linear,
        "backward",
        lambda self, xs, y, relevance, k, **more: (
            ([relevance for _ in xs], None) if self.kind == "sum" else backward(self, xs, y, relevance, k, **more)
        ),
    )


@seen_by("gate", "lrp_epsilon")
def a_gate_takes_relevance(patch):
    patch.setattr(
        operations.Gate,
        "backward",
        lambda self, xs, y, relevance, k: ([relevance * repeat(xs[1 - self.signal], k)], None),
    )


@seen_by("branches", "lrp_epsilon")
def branches_get_each_others_relevance(patch):
    backward = operations.Join.backward

    def swapped(self, xs, y, relevance, k):
        if self.axis == len(xs[0].shape) - 1:
            return [ops.flip(part, axis=-1) for part in backward(self, xs, y, relevance, k)[0]], None
        return backward(self, xs, y, relevance, k)

    patch.setattr(operations.Join, "backward", swapped)


@seen_by("moves", "deep_taylor", probability=0.02)
def moves_are_not_undone(patch):
    patch.setattr(
        operations.Move,
        "backward",
        lambda self, xs, y, relevance, k: (
            [ops.reshape(relevance, (-1, *xs[0].shape[1:]))]
            if "turn" in self.name
            else [pull(self.forward, repeat(xs[0], k), relevance)],
            None,
        ),
    )


@seen_by("dense", "lrp_epsilon")
def maps_of_neurons_are_mixed_up(patch):
    patch.setattr(operations, "repeat", lambda x, k: ops.tile(x, (k, *[1] * (len(x.shape) - 1))))


@seen_by("conv1d", "lrp_gamma")
def probability_is_explained_and_not_the_logit(patch):
    backward = operations.Head.backward_from
    patch.setattr(
        operations.Head, "backward_from", lambda self, x, relevance, *a: backward(self, x, ops.sigmoid(relevance), *a)
    )


@seen_by("dense", "lrp_epsilon", probability=0.2)
def the_reference_stays_in_the_bias(patch):
    combine = operations.Head.combine
    patch.setattr(operations.Head, "combine", lambda self, targets, offset: combine(self, targets, 0 * offset))


@seen_by("dense", "deep_taylor", contrast=1)
def the_rival_is_forgotten(patch):
    targets = explainer.Explainer._targets
    patch.setattr(explainer.Explainer, "_targets", lambda self, neuron, contrast, n: targets(self, neuron, None, n))


@seen_by("linear", "deep_taylor")
def what_speaks_against_the_tag_is_explained_too(patch):
    init = propagation.Propagation.__init__

    def mistaken(self, *a, **more):
        init(self, *a, **more)
        self.positive_start = False

    patch.setattr(propagation.Propagation, "__init__", mistaken)


# -- canonisation -----------------------------------------------------------------------------------------------------


@seen_by("norm_across_pool", "deep_taylor", probability=0.02)
def borders_have_the_bias_of_the_middle(patch):
    bias_map = canonisation.conv_bias_map

    def everywhere(call, apply, kernel, b):
        added = bias_map(call, apply, kernel, b)
        return added if added.ndim < 4 else added[0, added.shape[1] // 2, added.shape[2] // 2]

    patch.setattr(canonisation, "conv_bias_map", everywhere)


@seen_by("norm_across_pool", "lrp_epsilon")
def a_negative_gamma_before_a_maximum_is_ignored(patch):
    def pooled(self, call, value):
        number = self.emit(operations.MaxPool, call.name, (value.source,), output=call.outputs[0], forward=call.layer)
        return replace(value, source=number, first=False)

    patch.setattr(canonisation._Planner, "pooled", pooled)


@seen_by("norm_groups", "deep_taylor", probability=0.02)
def channels_of_groups_are_mixed_up(patch):
    scaled = canonisation.kernel_scaled
    patch.setattr(
        canonisation,
        "kernel_scaled",
        lambda kernel, a, *, depthwise, inputs=False: scaled(
            kernel, a[::-1] if inputs else a, depthwise=depthwise, inputs=inputs
        ),
    )


@seen_by("norm_after", "deep_taylor", probability=0.02)
def a_normalisation_after_a_layer_is_ignored(patch):
    patch.setattr(canonisation._Planner, "scaled", lambda self, call, value, a, b: value)


@seen_by("norm_stays", "lrp_epsilon")
def the_shift_of_a_normalisation_is_ignored(patch):
    patch.setattr(
        operations.Linear,
        "_forward",
        lambda self, *xs: (
            sum(self.apply(x, w) for x, w in zip(xs, self._w, strict=True))
            + (0.0 if self._b is None or self.kind == "scale" else self._b)
        ),
    )


@seen_by("norm_stays", "lrp_epsilon")
def the_share_of_a_shift_goes_on(patch):
    rule = propagation._Chooser.__call__
    patch.setattr(
        propagation._Chooser,
        "__call__",
        lambda self, operation: rules.Pass() if operation.kind == "scale" else rule(self, operation),
    )


@seen_by("norm_branches", "lrp_epsilon")
def normalised_branches_swap_their_scales(patch):
    joined = canonisation._Planner.joined

    def swapped(self, call, ins):
        value = joined(self, call, ins)
        return value if value.a is None else replace(value, a=value.a[::-1].copy())

    patch.setattr(canonisation._Planner, "joined", swapped)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_seen(name, monkeypatch):
    mistake, what, options = MISTAKES[name]
    check(*what, **options)
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"off by"):
        check(*what, **options)


def test_there_are_many_mistakes():
    assert len(MISTAKES) >= 30
