"""Recurrent layers against loops over steps and neurons in float64, and broken on purpose.

The reference follows Arras et al. 2017 and 2019: gates count as constants, the signals that they weigh take all. It
sees a step as explicit matrices and uses nothing of `musictools.explain`.
"""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from support.networks import eagerly, inputs, near, shaken
from support.reference import alpha_beta, epsilon, gamma

from musictools import explain
from musictools.explain.attribution import operations, propagation, recurrence, rules

STEPS, FEATURES, UNITS = 3, 3, 4
EPSILON = 0.01


def same_sign(x, M, b, R):
    """Contributions of the sum's own sign share alike, the bias takes nothing."""
    given = np.zeros_like(x)
    for j in range(len(R)):
        z = M[j] @ x + b[j]
        parts = np.maximum(M[j] * x, 0) if z >= 0 else np.minimum(M[j] * x, 0)
        if parts.sum() != 0:
            given += parts / parts.sum() * R[j]
    return given


RULES = {
    "lrp_epsilon": (epsilon(EPSILON), {"epsilon": EPSILON}),
    "lrp_gamma": (gamma(), {}),
    "lrp_alpha_beta": (alpha_beta(), {}),
    "lrp_composite": (epsilon(EPSILON), {"epsilon": EPSILON}),
    "deep_taylor": (same_sign, {}),
}
LAYERS = {
    "gru": lambda **o: L.GRU(UNITS, **o),
    "gru_before": lambda **o: L.GRU(UNITS, reset_after=False, **o),
    "gru_no_bias": lambda **o: L.GRU(UNITS, use_bias=False, activation="softsign", **o),
    "lstm": lambda **o: L.LSTM(UNITS, **o),
    "simple": lambda **o: L.SimpleRNN(UNITS, **o),
    "simple_relu": lambda **o: L.SimpleRNN(UNITS, activation="relu", **o),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


def network(layer, seed=0):
    model = keras.Sequential([L.Input((STEPS, FEATURES)), layer, L.Flatten(), L.Dense(3, name="end")])
    shaken(model, seed=seed)
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])
    return model


# -- the reference ----------------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {"tanh": np.tanh, "softsign": lambda x: x / (1 + np.abs(x)), "relu": lambda x: np.maximum(x, 0)}


def forward(layer, x):
    """One dict of values for every step; "M" and "b" make the candidate's sum from the input and the state before."""
    W, U, *bias = (np.asarray(w, dtype=np.float64) for w in layer.get_weights())
    n, act = layer.units, ACTIVATIONS[layer.activation.__name__]
    bias = np.atleast_2d(bias[0]) if bias else np.zeros((2, W.shape[1]))
    h, c, steps = np.zeros(n), np.zeros(n), []
    for x_t in x:
        v = {"x": x_t, "h": h, "c": c}
        if isinstance(layer, L.GRU):
            first, second = bias if len(bias) == 2 else (bias[0], 0 * bias[0])
            z = sigmoid(x_t @ W[:, :n] + h @ U[:, :n] + first[:n] + second[:n])
            r = sigmoid(x_t @ W[:, n : 2 * n] + h @ U[:, n : 2 * n] + first[n : 2 * n] + second[n : 2 * n])
            reset = r[:, None] * U[:, 2 * n :].T if layer.reset_after else U[:, 2 * n :].T * r
            v["M"] = np.hstack([W[:, 2 * n :].T, reset])
            v["b"] = first[2 * n :] + (r * second[2 * n :] if layer.reset_after else 0)
            v["candidate"] = act(v["M"] @ np.concatenate([x_t, h]) + v["b"])
            v["weights"], v["signals"] = (z, 1 - z), (h, v["candidate"])
            h = z * h + (1 - z) * v["candidate"]
        elif isinstance(layer, L.LSTM):
            i, f, _, o = (
                sigmoid(x_t @ W[:, s] + h @ U[:, s] + bias[0][s]) for s in (slice(j * n, (j + 1) * n) for j in range(4))
            )
            s = slice(2 * n, 3 * n)
            v["M"], v["b"] = np.hstack([W[:, s].T, U[:, s].T]), bias[0][s]
            v["candidate"] = act(v["M"] @ np.concatenate([x_t, h]) + v["b"])
            v["weights"], v["signals"] = (f, i), (c, v["candidate"])
            c = f * c + i * v["candidate"]
            h = o * act(c)
        else:
            v["M"], v["b"] = np.hstack([W.T, U.T]), bias[0]
            h = act(v["M"] @ np.concatenate([x_t, h]) + v["b"])
        steps.append({**v, "after": h})
    return steps


def backward(layer, x, R, rule):
    """Relevance (steps, features) of the input from that of the output."""
    x = x[::-1] if layer.go_backwards else x
    steps, given = forward(layer, x), np.zeros_like(x)
    R_h, R_c = np.zeros(layer.units), np.zeros(layer.units)
    for t in range(len(x))[::-1]:
        v = steps[t]
        if layer.return_sequences:
            R_h = R_h + R[t]
        elif t == len(x) - 1:
            R_h = R_h + R
        if isinstance(layer, L.SimpleRNN):
            R_sum, kept = R_h, 0.0
        else:
            arriving = R_h + R_c
            kept, R_sum = np.zeros(layer.units), np.zeros(layer.units)
            for j in range(layer.units):
                pair = np.array([v["signals"][0][j], v["signals"][1][j]])
                M = np.array([[v["weights"][0][j], v["weights"][1][j]]])
                kept[j], R_sum[j] = rule(pair, M, np.zeros(1), arriving[j : j + 1])
        parts = rule(np.concatenate([v["x"], v["h"]]), v["M"], v["b"], R_sum)
        given[t], R_h = parts[:FEATURES], parts[FEATURES:]
        if isinstance(layer, L.LSTM):
            R_c = kept
        else:
            R_h = R_h + kept
    return given[::-1] if layer.go_backwards else given


def check(name, method, **options):
    layer = LAYERS[name](name="recur", **options)
    model, x = network(layer), inputs((STEPS, FEATURES), signed=True, n=2)
    rule, more = RULES[method]
    reference = 0.001 if method == "deep_taylor" else None  # so that no map is blank
    found = explain.Explainer(model, method=method, **more)(x, [0, 1, 2], reference=reference)
    kernel, bias = (w.astype(np.float64) for w in model.get_layer("end").get_weights())
    for i, neuron in np.ndindex(2, 3):
        seen = x[i].astype(np.float64)
        steps = forward(layer, seen[::-1] if layer.go_backwards else seen)
        y = np.stack([v["after"] for v in steps]) if layer.return_sequences else steps[-1]["after"]
        logit = y.ravel() @ kernel[:, neuron] + bias[neuron] - (np.log(0.001 / 0.999) if reference else 0)
        near(found.logit[i, neuron], logit, "logit")
        start, head = (max(logit, 0), zplus_head) if method == "deep_taylor" else (logit, rule)
        R = head(y.ravel(), kernel.T[neuron][None], bias[neuron][None], np.array([start])).reshape(y.shape)
        near(found.relevance[i, neuron], backward(layer, seen, R, rule), f"relevance of {name} by {method}")
    assert found.conservation.error().max() <= 1e-5
    assert found.relevance.any()


def zplus_head(x, M, b, R):
    parts = np.maximum(M[0] * x, 0)
    return parts / parts.sum() * R[0] if parts.sum() else 0 * x


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_last_state(name, method):
    check(name, method)


@pytest.mark.parametrize("options", [{"return_sequences": True}, {"go_backwards": True},
                                     {"return_sequences": True, "go_backwards": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ["gru", "lstm", "simple"])
def test_sequences_and_backwards(name, options):
    check(name, "lrp_epsilon", **options)
    check(name, "deep_taylor", **options)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("merge", ["concat", "sum", "ave"])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_both_directions(name, merge, sequences):
    """As two layers in a functional model."""
    source, two = L.Input((STEPS, FEATURES)), L.Bidirectional(
        LAYERS[name](return_sequences=sequences), merge_mode=merge, name="both"
    )  # fmt: skip
    end = L.Dense(3, name="end")
    model = shaken(keras.Model(source, end(L.Flatten()(two(source)))))
    rng = np.random.default_rng(1)
    two.set_weights([rng.normal(0, 0.7, w.shape) for w in two.get_weights()])
    y, back = two.forward_layer(source), two.backward_layer(source)
    back = back[:, ::-1] if sequences else back
    joined = {"concat": L.Concatenate, "sum": L.Add, "ave": L.Average}[merge]()([y, back])
    plain = keras.Model(source, end(L.Flatten()(joined)))
    x = inputs((STEPS, FEATURES), signed=True, n=3)
    for method in ("lrp_epsilon", "deep_taylor"):
        found, wanted = (explain.relevance(m, x, [0, 1], method=method) for m in (model, plain))
        near(found.logit, model(x)[:, :2], "logit")
        near(found.relevance, wanted.relevance, method)
        assert found.conservation.error().max() <= 1e-5
        assert {"both/forward", "both/backward"} <= set(found.conservation.layers)


def test_compiled_many_neurons_and_batches(monkeypatch):
    model, x = network(L.GRU(UNITS, return_sequences=True)), inputs((STEPS, FEATURES), n=3)
    plain = explain.Explainer(model, method="lrp_gamma")(x, [2, 0])
    for i in range(3):
        for place, neuron in enumerate((2, 0)):
            single = explain.Explainer(model, method="lrp_gamma")(x[i : i + 1], neuron)
            near(plain.relevance[i, place], single.relevance[0], "one after the other")
            near(
                plain.conservation.entries.reshape(3, 2, -1, 5)[i, place],
                single.conservation.entries[0],
                "conservation",
            )
    monkeypatch.undo()
    compiled = explain.Explainer(model, method="lrp_gamma")(x, [2, 0])
    near(compiled.relevance, plain.relevance, "compiled")
    near(compiled.conservation.entries, plain.conservation.entries, "compiled")


@pytest.mark.parametrize("name", ["gru", "gru_before", "lstm", "simple"])
def test_without_biases_all_relevance_reaches_the_input(name):
    layer = LAYERS[name](use_bias=False, return_sequences=True)
    source = L.Input((STEPS, FEATURES))
    model = shaken(keras.Model(source, L.Dense(3, use_bias=False)(L.Flatten()(layer(source)))))
    x = inputs((STEPS, FEATURES), signed=True, n=4)
    found = explain.relevance(model, x, [0, 1, 2], method="lrp_epsilon", epsilon=1e-7)
    near(found.relevance.sum(axis=(2, 3)), found.logit, "sum")
    assert found.conservation.error().max() <= 1e-5


def from_a_state(x):
    return L.GRU(3, name="bad")(x, initial_state=L.Dense(3)(L.Flatten()(x)))


REFUSED = {
    "state": (from_a_state, "starts from a given state"),
    "states": (lambda x: L.GRU(3, return_state=True, name="bad")(x)[0], r"\(GRU\) has several outputs"),
    "stateful": (lambda x: L.GRU(3, stateful=True, name="bad")(x), "keeps its state from batch to batch"),
    "activation": (lambda x: L.GRU(3, activation="exponential", name="bad")(x), "has the activation 'exponential'"),
    "gates": (lambda x: L.LSTM(3, recurrent_activation="tanh", name="bad")(x), "has gates with the activation 'tanh'"),
    "merge": (lambda x: L.Bidirectional(L.GRU(3), merge_mode="mul", name="bad")(x), "merges its directions by 'mul'"),
    "cell": (lambda x: L.RNN(L.GRUCell(3), name="bad")(x), r"is of a kind \(RNN\) that has no rule"),
    "mask": (lambda x: L.GRU(3)(L.Masking(name="bad")(x)), r"is of a kind \(Masking\) that has no rule"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_rule_is_named(case):
    make, message = REFUSED[case]
    source = L.Input((6, 4), batch_size=2 if case == "stateful" else None)
    model = keras.Model(source, L.Dense(2)(L.Flatten()(make(source))), name="small")
    with pytest.raises(ValueError, match=f"Layer 'bad' of small {message}"):
        explain.relevance(model, inputs((6, 4)), 0)


def test_rules_by_name():
    model = network(L.GRU(UNITS, name="recur"))
    x = inputs((STEPS, FEATURES))
    named = explain.relevance(model, x, 0, method="lrp_composite", rules={"recur": "same_sign"})
    by_class = explain.relevance(model, x, 0, method="lrp_composite", rules={"GRU": "same_sign"})
    near(named.relevance, by_class.relevance, "by class")
    assert named.conservation.rules == ["Epsilon", "SameSign", ""]
    for rule, message in (("z_box", "does not see the model's input"), ("pass", "mixes its inputs")):
        with pytest.raises(ValueError, match=f"Layer 'recur' {message}"):
            explain.relevance(model, x, 0, method="lrp_composite", rules={"recur": rule})


# -- broken on purpose ------------------------------------------------------------------------------------------------


def gates_take_half(patch):
    weighed = recurrence.Recurrent._weighed

    def mistaken(self, R, *a):
        parts, absorbed = weighed(self, R, *a)
        return [part / 2 for part in parts], absorbed

    patch.setattr(recurrence.Recurrent, "_weighed", mistaken)


def kept_and_new_are_swapped(patch):
    weighed = recurrence.Recurrent._weighed

    def mistaken(self, *a):
        (kept, new), absorbed = weighed(self, *a)
        return [new, kept], absorbed

    patch.setattr(recurrence.Recurrent, "_weighed", mistaken)


def the_state_before_is_forgotten(patch):
    back = recurrence.Recurrent._back

    def mistaken(self, *a):
        states, part, absorbed = back(self, *a)
        return tuple(0 * state for state in states), part, absorbed

    patch.setattr(recurrence.Recurrent, "_back", mistaken)


def the_reset_gate_is_forgotten(patch):
    total = recurrence.Recurrent._sum
    patch.setattr(
        recurrence.Recurrent, "_sum", lambda self, R, v, k: total(self, R, {**v, "r": ops.ones_like(v["r"])}, k)
    )


def time_runs_the_wrong_way(patch):
    scan = ops.scan
    patch.setattr(recurrence.ops, "scan", lambda f, start, xs, reverse=False: scan(f, start, xs, reverse=False))


def every_step_sees_the_state_after_it(patch):
    step = recurrence.Recurrent._steps

    def mistaken(self, x):
        values = step(self, x)
        return {**values, "before0": ops.roll(values["before0"], -1, axis=0)}

    patch.setattr(recurrence.Recurrent, "_steps", mistaken)


def biases_absorb_nothing(patch):
    divide = operations.divide
    patch.setattr(
        recurrence,
        "divide",
        lambda groups, *a, **o: divide([rules.Group(g.terms, None, g.share, g.mask) for g in groups], *a, **o),
    )


def deep_taylor_loses_negative_sums(patch):
    patch.setattr(propagation.rules.SameSign, "groups", rules.ZPlus.groups)


MISTAKES = {
    gates_take_half: "lrp_epsilon",
    kept_and_new_are_swapped: "lrp_epsilon",
    the_state_before_is_forgotten: "lrp_epsilon",
    the_reset_gate_is_forgotten: "lrp_epsilon",
    time_runs_the_wrong_way: "lrp_epsilon",
    every_step_sees_the_state_after_it: "lrp_epsilon",
    biases_absorb_nothing: "lrp_epsilon",
    deep_taylor_loses_negative_sums: "deep_taylor",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__)
def test_a_mistake_is_seen(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"off by"):
        check("gru", MISTAKES[mistake])


def test_a_carry_that_is_forgotten_is_seen(monkeypatch):
    back = recurrence.Recurrent._back

    def mistaken(self, back_, arrived, v, k):
        return back(self, (back_[0], 0 * back_[1]), arrived, v, k)

    monkeypatch.setattr(recurrence.Recurrent, "_back", mistaken)
    with pytest.raises(AssertionError, match=r"off by"):
        check("lstm", "lrp_epsilon")
