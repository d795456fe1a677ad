"""Attention rollout, and relevance beside it on attention whose truth is known."""

import keras
import numpy as np
import pytest
from keras import layers as L
from support.networks import eagerly, inputs, near

from musictools import explain, models
from musictools.models.layers import ClassToken

STEPS, FLAG, SINK, PAYLOAD = 8, 0, 1, 2  # tokens; features of a token
SHARP = 12.0


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


def rolled(model, x):
    return explain.relevance(model, x, [0, 1], method="attention_rollout")


def toy(idle=0):
    """The payload of the token with the flag is the logit. `idle` heads look at the sink and put out nothing."""
    source = L.Input((STEPS, 3))
    layer = L.MultiHeadAttention(1 + idle, 1, name="attend")
    y = L.GlobalAveragePooling1D()(layer(source, source))
    model = keras.Model(source, L.Dense(2, use_bias=False, name="end")(y))
    looks, reads = np.zeros((3, 1 + idle, 1)), np.zeros((3, 1 + idle, 1))
    looks[FLAG, 0], looks[SINK, 1:] = 1.0, 1.0
    reads[PAYLOAD, 0] = 1.0
    out = np.zeros((1 + idle, 1, 3))
    out[0, 0, 0] = 1.0
    nothing = np.zeros((1 + idle, 1))
    layer.query_dense.set_weights([0 * looks, nothing + SHARP])
    layer.key_dense.set_weights([looks, nothing])
    layer.value_dense.set_weights([reads, nothing])
    layer.output_dense.set_weights([out, np.zeros(3)])
    model.get_layer("end").set_weights([np.array([[1.0, -1.0], [0, 0], [0, 0]])])
    return model


def tokens(n=40, seed=0):
    """Tokens with payloads, one of them with the flag, another one the sink: inputs and the token that decides."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, STEPS, 3), np.float32)
    x[..., PAYLOAD] = rng.uniform(0.5, 1.5, (n, STEPS))
    places = np.array([rng.permutation(STEPS)[:2] for _ in range(n)])
    x[np.arange(n), places[:, 0], FLAG] = 1
    x[np.arange(n), places[:, 1], SINK] = 1
    return x, places[:, 0]


def agreement(model, method, **options):
    """How often the most relevant token is the one that decides, and its mean share of all relevance."""
    x, decides = tokens()
    found = np.abs(explain.relevance(model, x, 0, method=method, **options).relevance).sum(axis=-1)
    share = found[np.arange(len(x)), decides] / found.sum(axis=1)
    return (found.argmax(axis=1) == decides).mean(), share.mean()


def test_the_truth_of_the_toy():
    x, decides = tokens()
    for idle in (0, 2):
        model = toy(idle)
        whole = explain.logits(model)(x)[:, 0]
        near(whole, x[np.arange(len(x)), decides, PAYLOAD], "logit")
        for place in range(STEPS):
            without = x.copy()
            without[:, place, PAYLOAD] = 0
            change = whole - explain.logits(model)(without)[:, 0]
            assert (change[decides == place] > 0.4).all()
            assert (np.abs(change[decides != place]) < 1e-3).all()


METHODS = {
    "attnlrp": ("lrp_epsilon", {}),
    "constant": ("lrp_epsilon", {"attention": "constant"}),
    "deep_taylor": ("deep_taylor", {}),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("idle", [0, 2])
def test_relevance_finds_the_token_that_decides(method, idle):
    method, options = METHODS[method]
    first, share = agreement(toy(idle), method, **options)
    assert first == 1.0
    assert share > 0.95


def test_rollout_finds_it_only_where_every_head_counts():
    first, share = agreement(toy(0), "attention_rollout")
    assert first == 1.0
    assert 0.5 < share < 0.6  # half of the unit matrix spreads the rest
    first, share = agreement(toy(2), "attention_rollout")
    assert first == 0.0
    assert share < 0.25


def test_two_layers_against_products_by_hand():
    source = L.Input((STEPS, 3))
    one, two = L.MultiHeadAttention(2, 3, name="one"), L.MultiHeadAttention(1, 2, name="two")
    y = L.Add()([source, one(source, source)])
    z = L.Add()([y, two(y, y)])
    model = keras.Model(source, L.Dense(2)(L.Flatten()(L.Cropping1D((2, STEPS - 3))(z))))  # token 2 is read
    x = inputs((STEPS, 3), n=3)
    first = one(x, x, return_attention_scores=True)[1].numpy().mean(axis=1)
    y = x + one(x, x).numpy()
    second = two(y, y, return_attention_scores=True)[1].numpy().mean(axis=1)
    unit = np.eye(STEPS)
    wanted = np.einsum("nts,nsr->ntr", (second + unit) / 2, (first + unit) / 2)[:, 2]
    found = rolled(model, x)
    assert found.conservation is None
    near(found.relevance, np.broadcast_to(wanted[:, None, :, None], (3, 2, STEPS, 3)), "rollout")
    near(found.logit, model(x), "logit")


def test_learned_tokens_are_left_out():
    source = L.Input((STEPS, 3))
    y = ClassToken()(source)
    y = L.MultiHeadAttention(1, 2, name="attend")(y, y)
    model = keras.Model(source, L.Dense(2)(L.Flatten()(L.Cropping1D((0, STEPS))(y))))
    found = rolled(model, inputs((STEPS, 3)))
    assert found.relevance.shape == (2, 2, STEPS, 3)
    weights = found.relevance[:, 0, :, 0]
    assert (weights > 0).all()
    assert (weights.sum(axis=1) < 0.5).all()  # the token keeps half for itself


def test_the_tagger_with_self_attention():
    model = models.build("self_attention", n_outputs=2, width=0.0625, input_shape=(128, 64, 1), seed=0)
    found = rolled(model, inputs((128, 64, 1)))
    assert found.relevance.shape == (2, 2, 128, 64, 1)
    assert (found.relevance > 0).all()
    assert np.ptp(found.relevance, axis=2).max() == 0  # all bands alike


def crossed(x):
    return L.MultiHeadAttention(1, 2, name="cross")(x, L.Dense(4)(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: L.Dense(4)(x), "small has no multi-head attention, attention_rollout needs it"),
        (crossed, "the same tokens attend to each other. Layer 'cross' of small"),
    ],
)
def test_networks_without_self_attention_are_refused(make, message):
    source = L.Input((6, 4))
    model = keras.Model(source, L.Dense(2)(L.Flatten()(make(source))), name="small")
    with pytest.raises(ValueError, match=message):
        explain.relevance(model, inputs((6, 4)), 0, method="attention_rollout")
