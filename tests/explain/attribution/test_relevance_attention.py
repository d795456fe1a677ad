"""Attention, softmax and products of signals against loops in float64, and broken on purpose.

The reference is written from Achtibat et al. 2024 (propositions 3.1 and 3.3) and Ali et al. 2022, head by head and
element by element, with nothing of `musictools.explain`.
"""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from support.networks import eagerly, inputs, near, shaken
from support.reference import alpha_beta, epsilon, gamma, z_plus

from musictools import explain
from musictools.explain.attribution import attention, canonisation
from musictools.explain.attribution.operations import repeat
from musictools.models.graph.autodiff import pull

STEPS, UNITS, HEADS, KEY, VALUE = 5, 4, 2, 3, 2
EPSILON = 0.01
CASES = {  # method, options, rule of the linear parts, way through attention
    "epsilon": ("lrp_epsilon", {"epsilon": EPSILON}, epsilon(EPSILON), "attnlrp"),
    "gamma": ("lrp_gamma", {}, gamma(), "attnlrp"),
    "epsilon_constant": ("lrp_epsilon", {"epsilon": EPSILON, "attention": "constant"}, epsilon(EPSILON), "constant"),
    "gamma_constant": ("lrp_gamma", {"attention": "constant"}, gamma(), "constant"),
    "alpha_beta": ("lrp_alpha_beta", {}, alpha_beta(), "constant"),
    "deep_taylor": ("deep_taylor", {}, z_plus, "constant"),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


def network(*, causal=False, seed=0):
    """Queries, values and keys from different layers."""
    source = L.Input((STEPS, 3), name="x")
    a, b, c = (L.Dense(UNITS, activation="relu", name=name)(source) for name in ("a", "b", "c"))
    y = L.MultiHeadAttention(HEADS, KEY, VALUE, name="attend")(a, b, c, use_causal_mask=causal)
    model = keras.Model(source, L.Dense(3, name="end")(L.Flatten()(y)), name="attentive")
    shaken(model, seed=seed)
    rng = np.random.default_rng(seed)
    layer = model.get_layer("attend")
    layer.set_weights([rng.normal(0, 0.6, w.shape) for w in layer.get_weights()])
    return model


# -- the reference ----------------------------------------------------------------------------------------------------


def steady(z, eps):
    return z + (eps if z >= 0 else -eps)


def by_step(rule, x, W, b, R):
    """A dense layer's rule for every step."""
    return np.stack([rule(x[t], W.T, b, R[t]) for t in range(len(x))])


class Reference:
    """The network's values of one sample, and how relevance goes back."""

    def __init__(self, model, x, *, causal=False, eps=EPSILON):
        self.x, self.eps = x.astype(np.float64), eps
        self.dense = {n: [w.astype(np.float64) for w in model.get_layer(n).get_weights()] for n in ("a", "b", "c")}
        self.end = [w.astype(np.float64) for w in model.get_layer("end").get_weights()]
        layer = model.get_layer("attend")
        parts = (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
        self.W = [[np.asarray(w, dtype=np.float64) for w in (p.kernel, p.bias)] for p in parts]
        self.W[0] = [w / np.sqrt(KEY) for w in self.W[0]]
        self.h = {n: np.maximum(self.x @ W + b, 0) for n, (W, b) in self.dense.items()}
        self.q, self.k, self.v = (
            np.einsum("tc,chd->thd", self.h[n], W) + b for n, (W, b) in zip("acb", self.W[:3], strict=True)
        )
        self.scores = np.einsum("thd,shd->hts", self.q, self.k)
        raised = np.exp(self.scores) * (np.tril(np.ones((STEPS, STEPS))) if causal else 1)
        self.s = raised / raised.sum(axis=-1, keepdims=True)
        self.mixed = np.einsum("hts,shv->thv", self.s, self.v)
        self.y = np.einsum("thv,hvo->to", self.mixed, self.W[3][0]) + self.W[3][1]
        self.logits = self.y.ravel() @ self.end[0] + self.end[1]

    def relevance(self, neuron, rule, way, start=None):
        """Relevance of the input, and what the constants of the softmax absorb."""
        W, b = self.end
        start = self.logits[neuron] if start is None else start
        R = rule(self.y.ravel(), W.T[neuron][None], b[neuron][None], np.array([start])).reshape(STEPS, UNITS)
        kernel, bias = self.W[3]
        R = by_step(rule, self.mixed.reshape(STEPS, -1), kernel.reshape(-1, UNITS), bias, R)
        R = R.reshape(STEPS, HEADS, VALUE)
        if way == "constant":
            Rv = np.stack(
                [
                    [rule(self.v[:, h, v], self.s[h], np.zeros(STEPS), R[:, h, v]) for v in range(VALUE)]
                    for h in range(HEADS)
                ]
            ).transpose(2, 0, 1)
            return self.back("b", self.v, self.W[2], Rv, rule), 0.0
        Rs, Rv = self.product(R)
        Rz, absorbed = self.softmax(Rs)
        Rq, Rk = self.scored(Rz)
        parts = zip("acb", (self.q, self.k, self.v), self.W[:3], (Rq, Rk, Rv), strict=True)
        return sum(self.back(name, value, weights, r, rule) for name, value, weights, r in parts), absorbed

    def product(self, R):
        Rs, Rv = np.zeros_like(self.s), np.zeros_like(self.v)
        for t, h, v in np.ndindex(R.shape):
            for step in range(STEPS):
                part = self.s[h, t, step] * self.v[step, h, v]
                share = part / steady(2 * self.mixed[t, h, v], self.eps) * R[t, h, v]
                Rs[h, t, step] += share
                Rv[step, h, v] += share
        return Rs, Rv

    def softmax(self, Rs):
        Rz, absorbed = np.zeros_like(Rs), 0.0
        for h, t in np.ndindex(HEADS, STEPS):
            s, z = self.s[h, t], self.scores[h, t]
            for j in range(STEPS):
                if s[j] == 0:
                    continue
                slopes = s[j] * ((np.arange(STEPS) == j) - s)
                constant = s[j] - slopes @ z
                Rz[h, t] += slopes * z / s[j] * Rs[h, t, j]
                absorbed += constant / s[j] * Rs[h, t, j]
        return Rz, absorbed

    def scored(self, Rz):
        Rq, Rk = np.zeros_like(self.q), np.zeros_like(self.k)
        for h, t, step in np.ndindex(Rz.shape):
            for d in range(KEY):
                part = self.q[t, h, d] * self.k[step, h, d]
                share = part / steady(2 * self.scores[h, t, step], self.eps) * Rz[h, t, step]
                Rq[t, h, d] += share
                Rk[step, h, d] += share
        return Rq, Rk

    def back(self, name, value, weights, R, rule):
        """Through a projection and the dense layer before it."""
        kernel, bias = weights
        R = by_step(rule, self.h[name], kernel.reshape(UNITS, -1), bias.ravel(), R.reshape(STEPS, -1))
        return by_step(rule, self.x, *self.dense[name], R)


def check(case, *, causal=False):
    method, options, rule, way = CASES[case]
    eps = EPSILON if "epsilon" in options else 1e-6
    model, x = network(causal=causal), inputs((STEPS, 3), n=2)
    found = explain.Explainer(model, method=method, **options)(x, [0, 1, 2])
    for i, neuron in np.ndindex(2, 3):
        reference = Reference(model, x[i], causal=causal, eps=eps)
        near(found.logit[i, neuron], reference.logits[neuron], "logit")
        start = max(reference.logits[neuron], 0) if method == "deep_taylor" else None
        wanted, absorbed = reference.relevance(neuron, rule, way, start)
        near(found.relevance[i, neuron], wanted, f"relevance by {case}")
        table = found.conservation.to_frame(3 * i + neuron).set_index("layer")
        if way == "attnlrp":
            near(table.loc["attend/softmax", "bias"], absorbed, "softmax's constants")
        else:
            assert "attend/softmax" not in table.index
    assert found.conservation.error().max() <= 1e-5
    assert found.relevance.any()


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("case", CASES)
def test_reference(case, causal):
    check(case, causal=causal)


# -- layers and operators of one's own make --------------------------------------------------------------------------


def by_hand(kind):
    """Attention with one head, as a layer or from dense layers and operators."""
    source = L.Input((STEPS, 3))
    x = L.Dense(UNITS, name="one")(source)
    if kind == "layer":
        y = L.MultiHeadAttention(1, UNITS, name="attend")(x, x)
    else:
        q, k, v = (L.Dense(UNITS, name=name)(x) for name in ("query", "key", "value"))
        if kind == "einsum":
            s = ops.softmax(ops.einsum("ntd,nsd->nts", q, k))
            y = ops.einsum("nts,nsv->ntv", s, v)
        elif kind == "dot":
            y = L.Dot(axes=(2, 1))([L.Softmax()(L.Dot(axes=2)([q, k])), v])
        else:
            s = L.Activation("softmax")(ops.matmul(q, ops.transpose(k, (0, 2, 1))))
            y = ops.matmul(s, v)
        y = L.Dense(UNITS, name="output")(y)
    return keras.Model(source, L.Dense(2, name="end")(L.Flatten()(y)))


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_gamma", "lrp_composite", "deep_taylor"])
@pytest.mark.parametrize("kind", ["einsum", "matmul", "dot"])
def test_attention_from_operators_is_the_layer(kind, method):
    whole, parts = shaken(by_hand("layer")), by_hand(kind)
    layer = whole.get_layer("attend")
    for name in ("one", "end"):
        parts.get_layer(name).set_weights(whole.get_layer(name).get_weights())
    for name in ("query", "key", "value", "output"):
        factor = 0.5 if name == "query" else 1.0  # 1 / sqrt(4)
        kernel, bias = getattr(layer, f"{name}_dense").get_weights()
        parts.get_layer(name).set_weights([factor * kernel.reshape(UNITS, UNITS), factor * bias.ravel()])
    x = inputs((STEPS, 3), n=3)
    more = {"input": "flat"} if method == "lrp_composite" else {}
    found, wanted = (explain.relevance(m, x, [0, 1], method=method, **more) for m in (parts, whole))
    near(found.logit, wanted.logit, "logit")
    near(found.relevance, wanted.relevance, method)
    assert found.conservation.error().max() <= 1e-5


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_gamma", "deep_taylor"])
def test_a_normalisation_is_merged_into_queries_keys_and_values(method):
    def model(merged):
        source = L.Input((STEPS, UNITS))
        y = L.Dense(UNITS, activation="relu", name="one")(source)
        y = L.LayerNormalization(center=not merged, scale=not merged, name="norm")(y)
        y = L.MultiHeadAttention(HEADS, KEY, name="attend")(y, y)
        return shaken(keras.Model(source, L.Dense(2, name="end")(L.Flatten()(y))))

    apart, merged = model(False), model(True)
    gamma_, beta = apart.get_layer("norm").get_weights()
    layer, twin = apart.get_layer("attend"), merged.get_layer("attend")
    for name in ("query_dense", "key_dense", "value_dense"):
        kernel, bias = getattr(layer, name).get_weights()
        getattr(twin, name).set_weights([kernel * gamma_[:, None, None], bias + np.einsum("c,chd->hd", beta, kernel)])
    twin.output_dense.set_weights(layer.output_dense.get_weights())
    for name in ("one", "end"):
        merged.get_layer(name).set_weights(apart.get_layer(name).get_weights())
    x = inputs((STEPS, UNITS), n=3)
    found, wanted = (explain.relevance(m, x, [0, 1], method=method) for m in (apart, merged))
    near(found.relevance, wanted.relevance, method)
    assert found.conservation.error().max() <= 1e-5


def test_scores_that_the_layer_returns():
    source = L.Input((STEPS, 3))
    y, scores = L.MultiHeadAttention(2, 3, name="attend")(source, source, return_attention_scores=True)
    model = keras.Model(source, L.Dense(2)(L.Concatenate()([L.Flatten()(y), L.Flatten()(scores)])))
    found = explain.relevance(model, inputs((STEPS, 3)), [0, 1], method="lrp_epsilon")
    near(found.logit, model(inputs((STEPS, 3))), "logit")
    assert found.conservation.error().max() <= 1e-5
    with pytest.raises(ValueError, match="'attend/softmax' is a softmax of a signal.*deep_taylor has no rule"):
        explain.relevance(model, inputs((STEPS, 3)), 0)


@pytest.mark.parametrize("way", ["attnlrp", "constant"])
def test_batches_and_many_neurons(way):
    model, x = network(), inputs((STEPS, 3), n=3)
    explainer = explain.Explainer(model, method="lrp_epsilon", attention=way)
    together = explainer(x, [2, 0])
    for i in range(3):
        for place, neuron in enumerate((2, 0)):
            near(together.relevance[i, place], explainer(x[i : i + 1], neuron).relevance[0], "one after the other")


def test_without_biases_the_values_receive_the_logit():
    source = L.Input((STEPS, 3))
    y = L.Dense(UNITS, use_bias=False, activation="relu")(source)
    y = L.Add()([y, L.MultiHeadAttention(HEADS, KEY, use_bias=False)(y, y)])
    model = shaken(keras.Model(source, L.Dense(3, use_bias=False)(L.Flatten()(y))))
    x = inputs((STEPS, 3), n=4)
    found = explain.relevance(model, x, [0, 1, 2], method="lrp_epsilon", epsilon=1e-9, attention="constant")
    near(found.relevance.sum(axis=(2, 3)), found.logit, "sum")
    full = explain.relevance(model, x, [0, 1, 2], method="lrp_epsilon", epsilon=1e-9)
    constants = full.conservation.entries[..., 2].sum(axis=-1).reshape(4, 3)
    near(full.relevance.sum(axis=(2, 3)) + constants, full.logit, "sum with the softmax's constants")


def masked(x):
    return L.MultiHeadAttention(1, 2, name="bad")(x, x, attention_mask=ops.ones((1, 6, 6)))


def over_two_axes(x):
    y = L.Reshape((3, 2, 4))(x)
    return L.MultiHeadAttention(1, 2, name="bad")(y, y)


class Own(L.MultiHeadAttention):
    pass


REFUSED = {
    "mask": (masked, "has a mask"),
    "axes": (over_two_axes, "attends over several axes"),
    "subclass": (lambda x: Own(1, 2, name="bad")(x, x), r"is of a kind \(Own\) that has no rule"),
    "normalised": (lambda x: L.Dot(axes=2, normalize=True, name="bad")([x, L.Dense(4)(x)]), "normalises the signals"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_rule_is_named(case):
    make, message = REFUSED[case]
    source = L.Input((6, 4))
    model = keras.Model(source, L.Dense(2)(L.Flatten()(make(source))), name="small")
    with pytest.raises(ValueError, match=f"Layer 'bad' of small {message}"):
        explain.relevance(model, inputs((6, 4)), 0, method="lrp_epsilon")


def test_products_and_softmax_of_signals_need_attnlrp():
    source = L.Input((6, 4))
    y = L.Dot(axes=2, name="product")([L.Dense(4)(source), L.Dense(3, name="d")(source)[..., :1] * np.ones(4)])
    model = keras.Model(source, L.Dense(2)(L.Flatten()(y)))
    with pytest.raises(ValueError, match="'product' multiplies two signals.*lrp_alpha_beta has no rule.*lrp_epsilon"):
        explain.relevance(model, inputs((6, 4)), 0, method="lrp_alpha_beta")
    assert explain.relevance(model, inputs((6, 4)), 0, method="lrp_gamma").conservation.error().max() <= 1e-5
    with pytest.raises(ValueError, match="attention must be 'attnlrp' or 'constant'. Got 'rollout'"):
        explain.relevance(model, inputs((6, 4)), 0, method="lrp_gamma", attention="rollout")


# -- broken on purpose ------------------------------------------------------------------------------------------------


def a_product_gives_all_to_either(patch):
    def backward(self, xs, y, relevance, k):
        (a, b), y = (repeat(x, k) for x in xs), repeat(y, k)
        q = relevance / (y + self.epsilon * (2 * ops.cast(y >= 0, "float32") - 1))
        return [a * pull(lambda v: self.forward(v, b), a, q), b * pull(lambda v: self.forward(a, v), b, q)], None

    patch.setattr(attention.Product, "backward", backward)


def a_product_gives_everything_to_its_second_factor(patch):
    backward = attention.Product.backward

    def mistaken(self, *a):
        (first, second), absorbed = backward(self, *a)
        return [0 * first, 2 * second], absorbed

    patch.setattr(attention.Product, "backward", mistaken)


def epsilon_is_not_with_twice_the_product(patch):
    backward = attention.Product.backward

    def mistaken(self, *a):
        self.epsilon = 2 * EPSILON
        return backward(self, *a)

    patch.setattr(attention.Product, "backward", mistaken)


def softmax_passes_relevance_unchanged(patch):
    patch.setattr(attention.Softmax, "backward", lambda self, xs, y, relevance, k: ([relevance], None))


def softmax_forgets_the_other_weights(patch):
    backward = attention.Softmax.backward
    patch.setattr(
        attention.Softmax,
        "backward",
        lambda self, xs, y, relevance, k: ([repeat(xs[0], k) * relevance], backward(self, xs, y, relevance, k)[1]),
    )


def softmax_is_not_multiplied_by_its_input(patch):
    backward = attention.Softmax.backward

    def mistaken(self, xs, y, relevance, k):
        (part,), absorbed = backward(self, xs, y, relevance, k)
        return [part / (repeat(xs[0], k) + 1e-9)], absorbed

    patch.setattr(attention.Softmax, "backward", mistaken)


def queries_are_keys(patch):
    projection = attention._projection
    order = {"attend/query": "key_dense", "attend/key": "query_dense"}
    patch.setattr(
        attention,
        "_projection",
        lambda planner, call, name, value, dense, factor: projection(
            planner, call, name, value, getattr(call.layer, order[name]) if name in order else dense, factor
        ),
    )


def the_scale_is_forgotten(patch):
    projection = attention._projection
    patch.setattr(attention, "_projection", lambda *a: projection(*a[:-1], 1.0))


MISTAKES = (
    a_product_gives_all_to_either,
    a_product_gives_everything_to_its_second_factor,
    epsilon_is_not_with_twice_the_product,
    softmax_passes_relevance_unchanged,
    softmax_forgets_the_other_weights,
    softmax_is_not_multiplied_by_its_input,
    queries_are_keys,
    the_scale_is_forgotten,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__)
def test_a_mistake_is_seen(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"off by"):
        check("epsilon")


def the_heads_weights_are_turned(patch):
    mixed = attention.Mix.backward

    def mistaken(self, xs, y, relevance, k, **more):
        return mixed(self, [ops.swapaxes(xs[0], -1, -2), xs[1]], y, relevance, k, **more)

    patch.setattr(attention.Mix, "backward", mistaken)


def weights_take_a_share(patch):
    init = canonisation._Planner.__init__
    patch.setattr(canonisation._Planner, "__init__", lambda self, graph, way: init(self, graph, "attnlrp"))


def weights_of_one_map_serve_all(patch):
    patch.setattr(attention, "repeat", lambda x, k: ops.tile(x, (k, *[1] * (len(x.shape) - 1))))


@pytest.mark.parametrize(
    "mistake",
    [the_heads_weights_are_turned, weights_take_a_share, weights_of_one_map_serve_all],
    ids=lambda f: f.__name__,
)
def test_a_mistake_with_constant_weights_is_seen(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises((AssertionError, ValueError), match=r"off by|is a softmax of a signal|multiplies two signals"):
        check("deep_taylor")


def test_a_causal_mask_that_is_ignored_is_seen(monkeypatch):
    monkeypatch.setattr(attention, "_causal_softmax", ops.softmax)
    with pytest.raises(AssertionError, match=r"off by"):
        check("epsilon", causal=True)
