"""Curves and masks on models whose reasons are known: linear ones, in which relevance w * x is the whole truth."""

import itertools

import numpy as np
import pandas as pd
import pytest

from musictools.explain.metrics import faithfulness


def linear(weights, *, bias=0.0, calls=None):
    """A model with one logit sum(w * x) + bias for every row of weights."""

    def scores(x):
        if calls is not None:
            calls.append(len(x))
        return x.reshape(len(x), -1) @ weights.reshape(len(weights), -1).T + bias

    return scores


@pytest.fixture
def toy():
    """Inputs of 2 x 3 blocks of 2 x 2 cells, two outputs, and relevance w * x."""
    rng = np.random.default_rng(0)
    x = rng.random((3, 4, 6, 1)).astype(np.float32)
    weights, neuron = rng.normal(size=(2, 4, 6, 1)), np.array([1, 0, 1])
    return x, weights, neuron, weights[neuron] * x


def block_sums(relevance):
    return relevance.reshape(len(relevance), 2, 2, 3, 2).sum(axis=(2, 4)).reshape(len(relevance), 6)


# --- curves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_no_order_is_better_than_that_of_a_linear_models_own_relevance(toy, kind):
    x, weights, neuron, relevance = toy
    options = {"kind": kind, "baseline": "floor", "cell": (2, 2), "steps": 6}
    result = faithfulness.curves(linear(weights), x, neuron, relevance, **options)
    sums = block_sums(relevance)
    sign = -1 if kind == "deletion" else 1
    for i in range(len(x)):
        start = sums[i].sum() if kind == "deletion" else 0.0
        every = np.array([start + sign * np.cumsum([0, *sums[i][list(order)]])
                          for order in itertools.permutations(range(6))])  # fmt: skip
        best = every.min(axis=0) if kind == "deletion" else every.max(axis=0)
        np.testing.assert_allclose(result.logit[i], best, atol=1e-5)
        areas = np.trapezoid(every, np.arange(7) / 6, axis=1)
        assert result.area("logit")[i] == pytest.approx(sign * (sign * areas).max(), abs=1e-5)
        random = [np.abs(every - row).max(axis=1).min() for row in result.control_logit[i : i + 1]]
        assert max(random) < 1e-5, "the control is no order of the blocks"
    assert (result.advantage("logit") >= 0).all()
    worst = faithfulness.curves(linear(weights), x, neuron, -relevance, **options)
    assert (worst.advantage("logit") <= 0).all()
    assert (sign * (result.area("logit") - worst.area("logit")) > 0).all()


def test_a_curve_by_hand():
    x = np.array([[[[1.0], [2.0], [3.0]], [[5.0], [3.0], [1.0]]]])  # means over time: 2 and 3
    relevance = np.array([[[[0.1], [0.5], [0.4]], [[0.6], [0.2], [0.3]]]])
    scores = linear(np.array([[[[1.0], [1.0], [0.0]], [[0.5], [0.0], [-1.0]]]]))
    result = faithfulness.curves(scores, x, 0, relevance, cell=(1, 1), steps=6)
    # 1 + 2 + 0.5 * 5 - 1 = 4.5; then 5 -> 3 (-1), 2 -> 2, 3 -> 2 without weight, 1 -> 3 (-2), 3 -> 3, 1 -> 2 (+1)
    np.testing.assert_allclose(result.logit[0], [4.5, 3.5, 3.5, 3.5, 1.5, 1.5, 2.5], atol=1e-6)
    np.testing.assert_allclose(result.share, np.arange(7) / 6)
    np.testing.assert_allclose(result.probability, 1 / (1 + np.exp(-result.logit)), atol=1e-7)
    assert result.area("logit")[0] == pytest.approx((4.5 / 2 + 3.5 * 3 + 1.5 * 2 + 2.5 / 2) / 6)
    inserted = faithfulness.curves(scores, x, 0, relevance, cell=(1, 1), steps=6, kind="insertion")
    np.testing.assert_allclose(inserted.logit[0], [2.5, 3.5, 3.5, 3.5, 5.5, 5.5, 4.5], atol=1e-6)
    coarse = faithfulness.curves(scores, x, 0, relevance, cell=(1, 1), steps=3)
    np.testing.assert_allclose(coarse.logit[0], [4.5, 3.5, 1.5, 2.5], atol=1e-6)
    np.testing.assert_allclose(coarse.share, [0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("baseline", faithfulness.BASELINES)
def test_curves_run_from_the_input_to_the_baseline_and_back(toy, baseline):
    x, weights, neuron, relevance = toy
    other = faithfulness.replacement(x, baseline=baseline, cell=(2, 2))
    ends = [linear(weights)(values)[np.arange(3), neuron] for values in (x, other)]
    for kind in ("deletion", "insertion"):
        result = faithfulness.curves(linear(weights), x, neuron, relevance, kind=kind, baseline=baseline, cell=(2, 2))
        for curve in (result.logit, result.control_logit):
            assert curve.shape == (3, 7)
            order = ends if kind == "deletion" else ends[::-1]
            np.testing.assert_allclose(curve[:, [0, -1]].T, order, atol=1e-5)
        assert (result.kind, result.baseline) == (kind, baseline)


def test_constant_relevance_is_worth_a_random_order():
    rng = np.random.default_rng(1)
    x, weights = rng.random((400, 4, 6, 1)).astype(np.float32), rng.normal(size=(1, 4, 6, 1))
    result = faithfulness.curves(linear(weights), x, 0, np.ones_like(x), baseline="floor", cell=(2, 2))
    gain = result.advantage("logit")
    assert gain.std() > 0.1
    assert gain.mean() == pytest.approx(0, abs=4 * gain.std() / 20)
    assert not np.allclose(result.logit, result.control_logit)
    again = faithfulness.curves(linear(weights), x, 0, np.ones_like(x), baseline="floor", cell=(2, 2))
    np.testing.assert_array_equal(result.logit, again.logit)
    other = faithfulness.curves(linear(weights), x, 0, np.ones_like(x), baseline="floor", cell=(2, 2), seed=1)
    assert not np.allclose(result.logit, other.logit)


def test_ties_come_in_every_order_alike():
    values = np.tile([1.0, 2.0, 1.0, 1.0, 0.0], (6000, 1))
    ranks = faithfulness._ranks(values, np.random.default_rng(2))
    assert (ranks[:, 1] == 0).all()
    assert (ranks[:, 4] == 4).all()
    orders, counts = np.unique(ranks[:, [0, 2, 3]], axis=0, return_counts=True)
    assert len(orders) == 6
    assert counts.min() > 850


def test_the_model_is_asked_in_large_batches_whose_size_changes_nothing(toy):
    x, weights, neuron, relevance = toy
    calls = []
    one = faithfulness.curves(linear(weights, calls=calls), x, neuron, relevance, cell=(2, 2), steps=3, batch_size=5)
    assert calls == [5, 5, 2] * 2
    all_at_once = faithfulness.curves(linear(weights), x, neuron, relevance, cell=(2, 2), steps=3)
    np.testing.assert_allclose(one.logit, all_at_once.logit, atol=1e-6)
    single = [faithfulness.curves(linear(weights), x[i : i + 1], int(neuron[i]), relevance[i : i + 1], cell=(2, 2),
                                  steps=3).logit[0] for i in range(3)]  # fmt: skip
    np.testing.assert_allclose(single, all_at_once.logit, atol=1e-6)


def test_softmax_probabilities_are_among_all_outputs(toy):
    x, weights, neuron, relevance = toy
    result = faithfulness.curves(linear(weights), x, neuron, relevance, cell=(2, 2), head="softmax")
    logits = linear(weights)(x)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.probability[:, 0], expected[np.arange(3), neuron], atol=1e-6)


def test_waveforms_are_deleted_in_pieces_of_time():
    x = np.random.default_rng(3).normal(size=(2, 1000, 1)).astype(np.float32)
    weights = np.zeros((1, 1000, 1))
    weights[0, 300:400] = x[0, 300:400]
    result = faithfulness.curves(linear(weights), x, 0, weights[[0, 0]] * x, baseline="floor", cell=100, steps=10)
    first = np.square(x[0, 300:400], dtype=float).sum()
    np.testing.assert_allclose(result.logit[0], [first] + [0] * 10, atol=1e-4)
    blocks = faithfulness.curves(linear(weights), x, 0, weights[[0, 0]] * x, steps=100)
    assert len(blocks.share) == 5, "four blocks of 256 samples, the last one smaller"


def test_blocks_at_the_edge_may_be_smaller():
    relevance = np.arange(35.0).reshape(1, 5, 7, 1)
    block = faithfulness._blocks((5, 7), (2, 3))
    assert block.shape == (5, 7)
    assert np.bincount(block.ravel()).tolist() == [6, 6, 2, 6, 6, 2, 3, 3, 1]
    sums = faithfulness._block_sums(relevance, block)
    assert sums[0, [0, 2, 8]].tolist() == [0 + 1 + 2 + 7 + 8 + 9, 6 + 13, 34]


def test_baselines_are_what_they_say():
    rng = np.random.default_rng(4)
    x = rng.random((2, 24, 32, 1)).astype(np.float32)
    assert not faithfulness.replacement(x, baseline="floor").any()
    mean = faithfulness.replacement(x)
    np.testing.assert_allclose(mean[1, 5, :, 0], x[1, 5, :, 0].mean(), atol=1e-6)
    constant = np.full_like(x, 0.3)
    np.testing.assert_allclose(faithfulness.replacement(constant, baseline="blurred"), constant, atol=1e-6)
    blurred = faithfulness.replacement(x, baseline="blurred", cell=(2, 2))
    assert blurred.std() < 0.2 * x.std()
    wave = np.sin(np.arange(8000) * 0.5).astype(np.float32).reshape(1, -1, 1)
    assert np.abs(faithfulness.replacement(wave, baseline="blurred")[0, 2500:-2500]).max() < 1e-3
    step = np.zeros((2, 8, 80, 1), np.float32)
    step[0, :, 40:] = 1
    edge = faithfulness.replacement(step, baseline="blurred", cell=(1, 4))
    assert not edge[1].any(), "one sample runs into the next"
    from scipy.stats import norm

    np.testing.assert_allclose(edge[0, 3, :, 0], norm.cdf((np.arange(80) - 39.5) / 8), atol=2e-3)


# --- masks ----------------------------------------------------------------------------------------------------------


def test_masked_inputs_by_hand():
    x = np.array([[[[1.0], [2.0], [3.0]], [[5.0], [3.0], [1.0]]]])
    relevance = np.array([[[[0.1], [0.5], [-0.4]], [[1.0], [0.2], [0.3]]]])
    weights = np.array([[[[0.1], [0.2], [0.3]], [[-0.4], [0.5], [0.6]]]])
    logit = {"before": 0.1 + 0.4 + 0.9 - 2 + 1.5 + 0.6}

    def found(**options):
        row = faithfulness.masked(linear(weights), x, 0, relevance, cell=(1, 1), **options).iloc[0]
        return np.log(row / (1 - row)).to_dict()

    # the two most relevant: 2 and 5; means over time 2 and 3
    logit |= {"inside": 0.4 - 2, "outside": 0.1 + 0.9 + 1.5 + 0.6}
    assert found(baseline="floor", keep=1 / 3) == pytest.approx(logit, abs=1e-5)
    mean = {"inside": 0.2 + 0.4 + 0.6 - 2 + 1.5 + 1.8, "outside": 0.1 + 0.4 + 0.9 - 1.2 + 1.5 + 0.6}
    assert found(baseline="mean", keep=1 / 3) == pytest.approx(logit | mean, abs=1e-5)
    soft = {"inside": 0.01 + 0.2 - 2 + 0.3 + 0.18, "outside": 0.09 + 0.2 + 0.9 + 1.2 + 0.42}
    assert found(baseline="floor", keep=None) == pytest.approx(logit | soft, abs=1e-5)


def test_every_map_keeps_the_same_share_of_blocks():
    rng = np.random.default_rng(5)
    sharp, flat = rng.exponential(size=(2, 16, 16, 1)) ** 8, rng.random((2, 16, 16, 1)) + 10
    for relevance in (sharp, flat, np.ones((2, 16, 16, 1))):
        mask = faithfulness.evidence_mask(relevance, keep=0.25, cell=(2, 2))
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(mask.mean(axis=(1, 2, 3)), 0.25)
        blocks = mask.reshape(2, 8, 2, 8, 2)
        assert (blocks.max(axis=(2, 4)) == blocks.min(axis=(2, 4))).all()
    chosen = faithfulness.evidence_mask(sharp, keep=0.25, cell=(1, 1)) > 0
    assert sharp[0][chosen[0]].min() > sharp[0][~chosen[0]].max()
    few = np.zeros((1, 16, 16, 1))
    few[0, 3, 4] = 1
    assert faithfulness.evidence_mask(few - 0.001, keep=0.5, cell=(1, 1)).sum() == 1, "negative evidence is kept"


def test_a_map_without_positive_relevance_keeps_nothing(toy):
    x, weights, neuron, _ = toy
    for relevance in (np.zeros_like(x), -np.ones_like(x)):
        for keep in (0.2, None):
            assert not faithfulness.evidence_mask(relevance, keep=keep, cell=(2, 2)).any()
            found = faithfulness.masked(linear(weights), x, neuron, relevance, keep=keep, baseline="floor")
            np.testing.assert_allclose(found["inside"], 0.5)
            np.testing.assert_allclose(found["outside"], found["before"])


def test_drop_increase_and_gain_by_hand():
    before, inside = np.array([0.8, 0.5, 0.2, 0.4]), np.array([0.2, 0.75, 0.1, 0.4])
    assert faithfulness.average_drop(before, inside) == pytest.approx((0.6 / 0.8 + 0 + 0.1 / 0.2 + 0) / 4)
    assert faithfulness.average_increase(before, inside) == 1 / 4
    assert faithfulness.average_gain(before, inside) == pytest.approx((0.25 / 0.5) / 4)
    ends = np.array([0.0, 1.0])
    assert faithfulness.average_drop(ends, ends[::-1]) == pytest.approx(1 / 2)
    assert faithfulness.average_gain(ends, ends[::-1]) == pytest.approx(1 / 2)


def test_fidelity_by_hand():
    before, inside, outside = np.array([[0.9, 0.6, 0.7, 0.2], [0.8, 0.3, 0.5, 0.9], [0.6, 0.1, 0.5, 0.1]])
    got = faithfulness.fidelity(before, inside, outside)
    assert got == pytest.approx({"accepted": 3, "kept": 1 / 3, "lost": 2 / 3})
    by_tag = faithfulness.fidelity(before, inside, outside, threshold=np.array([0.5, 0.2, 0.8, 0.15]))
    assert by_tag == pytest.approx({"accepted": 3, "kept": 1.0, "lost": 2 / 3})
    none = faithfulness.fidelity(before, inside, outside, threshold=0.95)
    assert none["accepted"] == 0
    assert np.isnan([none["kept"], none["lost"]]).all()
    table = pd.DataFrame({"outside": outside, "before": before, "inside": inside})
    every = faithfulness.measures(table)
    assert every["faithfulness"] == pytest.approx((0.3 + 0.5 + 0.2 + 0.1) / 4)
    assert every["average_drop"] == pytest.approx((0.1 / 0.9 + 0.3 / 0.6 + 0.2 / 0.7) / 4)
    assert {key: every[key] for key in got} == got


def test_evidence_alone_keeps_and_the_rest_loses_a_planted_tag():
    """For a model of one box, the box as relevance is faithful and another box is not."""
    rng = np.random.default_rng(6)
    x, box = rng.uniform(0.5, 1, size=(20, 16, 16, 1)).astype(np.float32), np.zeros((1, 16, 16, 1))
    box[0, 4:8, 8:12] = 1
    scores = linear(box, bias=-6)
    for shift, kept, lost in ((0, 1, 1), (-4, 0, 0)):
        relevance = np.roll(box, shift, axis=2) * x
        found = faithfulness.measures(faithfulness.masked(scores, x, 0, relevance, baseline="floor", keep=1 / 16))
        assert (found["accepted"], found["kept"], found["lost"]) == (20, kept, lost)


# --- bad input ------------------------------------------------------------------------------------------------------

X = np.ones((2, 4, 4, 1), np.float32)
ONES = linear(np.ones((3, 4, 4, 1)))


def run(x=X, relevance=X, neuron=0, model=ONES, **options):
    return faithfulness.curves(model, x, neuron, relevance, **options)


BAD = {
    "x's shape": (lambda: run(x=X[..., 0, 0]), r"x must have shape \(n, n_bins, n_frames, 1\) .* Got \(2, 4\)\."),
    "no samples": (lambda: run(x=X[:0], relevance=X[:0]), r"x must have shape .* Got \(0, 4, 4, 1\)"),
    "relevance's shape": (lambda: run(relevance=X[:1]), r"relevance must have x's shape, \(2, 4, 4, 1\)\. Got \(1, 4"),
    "NaN in x": (lambda: run(x=X * np.nan), r"x must be finite\. Got NaN or Inf"),
    "NaN in relevance": (lambda: run(relevance=X * np.nan), r"relevance must be finite\. Got NaN or Inf"),
    "neuron above": (lambda: run(neuron=3), r"neuron must be below 3, the outputs\. Got 3\."),
    "neuron below": (lambda: run(neuron=-1), r"neuron must be an int of at least 0 or an array of one int .* Got -1"),
    "neurons": (lambda: run(neuron=[0, 1, 2]), r"one int for each of the 2 samples\. Got \[0, 1, 2\]"),
    "half neuron": (lambda: run(neuron=0.5), r"neuron must be an int .* Got 0\.5"),
    "logits' shape": (lambda: run(model=lambda x: np.zeros(len(x))),
                      r"model must return logits of shape \(\d+, n_outputs\)\. Got"),
    "baseline": (lambda: run(baseline="noise"), r"baseline must be one of floor, mean, blurred\. Got 'noise'"),
    "kind": (lambda: run(kind="delete"), r"kind must be one of deletion, insertion\. Got 'delete'"),
    "head": (lambda: run(head="relu"), r"head must be one of sigmoid, softmax\. Got 'relu'"),
    "steps": (lambda: run(steps=0), r"steps must be a positive int\. Got 0"),
    "batch_size": (lambda: run(batch_size=2.5), r"batch_size must be a positive int\. Got 2\.5"),
    "cell": (lambda: run(cell=(2, 0)), r"cell must hold 2 positive ints, one an axis of the input\. Got \(2, 0\)"),
    "cell's axes": (lambda: run(cell=4), r"cell must hold 2 positive ints.* Got 4\."),
    "keep": (lambda: faithfulness.evidence_mask(X, keep=1.0), r"keep must lie in \(0, 1\) or be None\. Got 1\.0"),
    "map's shape": (lambda: faithfulness.evidence_mask(X[0, 0]), r"relevance must have shape .* Got \(4, 1\)"),
    "logits": (lambda: faithfulness.average_drop(np.array([2.0]), np.array([0.5])),
               r"before must hold probabilities in \[0, 1\], one a sample\. Got shape \(1,\), \[2\.\]"),
    "NaN": (lambda: faithfulness.average_gain(np.array([0.5]), np.array([np.nan])), r"inside must hold probabilities"),
    "lengths": (lambda: faithfulness.fidelity(np.ones(2), np.ones(2), np.ones(3)), r"outside must hold .* \(3,\)"),
    "nothing": (lambda: faithfulness.average_increase([], []), r"before must hold probabilities .* \(0,\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
