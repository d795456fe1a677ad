"""The networks of Won et al. 2020: the same function as in PyTorch, from the audio file to the logit."""

import keras
import numpy as np
import pytest
from support import won2020_states
from support.released import files

from musictools import audio, explain, released
from musictools.files import read_npz
from musictools.released import won2020
from musictools.released.installation import tagger_of

NAMES = [name for name in released.names() if name.startswith("won2020")]
FEW = ("Karissa", "joram", "solo-trumpet", "metal")  # two of them shorter than 29 s
ONE_OF_EACH = ["won2020-mtat-fcn", "won2020-mtat-crnn", "won2020-mtat-musicnn"]


@pytest.fixture(scope="module")
def oracle(request):
    """What `tests/oracles/won2020_oracle.py` wrote."""
    return read_npz(request.path.parents[1] / "fixtures" / "won2020.npz")


def seconds(release):
    return 3 if release.network == "musicnn" else 29


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_random_weights_give_the_logits_of_pytorch(oracle, name):
    release = released.describe(name)
    model = won2020.convert(won2020_states.state(release.network), release)
    assert [layer.name for layer in model.layers[-2:]] == ["logits", "sigmoid"]
    S = release.front_end.compute(won2020_states.sound(seconds(release)))
    assert S.shape == release.input.shape[:2]
    logits = explain.logits(model)(release.front_end.scale(S)[None, ..., None])
    np.testing.assert_allclose(logits, oracle[f"random-{release.network}"], atol=2e-4, rtol=0)


def compare(shared_data, oracle, name, clips):
    """Logits of the beginnings of clips, from the file on, against those of PyTorch."""
    release = released.describe(name)
    tagger = tagger_of(release, files(shared_data)[name])
    n_samples = 16000 * seconds(release)
    inputs = [tagger.inputs(audio.load(shared_data / clip, sr=16000)[0][:n_samples]) for clip in clips]
    assert all(len(x) == 1 for x in inputs)
    places = [list(oracle["clips"]).index(clip) for clip in clips]
    logits = explain.logits(tagger.model)(np.concatenate(inputs))
    np.testing.assert_allclose(logits, oracle[name][places], atol=1e-3, rtol=0)


@pytest.mark.real_data
@pytest.mark.parametrize("name", NAMES)
def test_logits_of_songs_are_those_of_pytorch(shared_data, oracle, name):
    compare(shared_data, oracle, name, [c for c in oracle["clips"] if any(part in c for part in FEW)])


@pytest.mark.full
@pytest.mark.real_data
@pytest.mark.parametrize("name", NAMES)
def test_logits_of_all_clips_are_those_of_pytorch(shared_data, oracle, name):
    compare(shared_data, oracle, name, list(oracle["clips"]))


def test_the_loudest_sound_is_not_clipped():
    front_end = released.describe("won2020-mtat-fcn").front_end
    t = np.arange(16000) / 16000
    tones = [np.sign(np.sin(2 * np.pi * f * t)) for f in (31.25, 100, 1000, 7000, 8000 - 31.25)]
    for y in [*tones, np.random.default_rng(0).choice([-1.0, 1.0], 16000), np.ones(16000)]:
        x = front_end.scale(front_end.compute(y.astype(np.float32)))
        assert x.max() < 1
    np.testing.assert_array_equal(front_end.scale(front_end.compute(np.zeros(16000))), 0)


def means_off(model, x):
    """How far means before each normalisation are from the running ones, in running standard deviations; the worst."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    values = keras.Model(model.input, [layer.input for layer in norms]).predict(x, batch_size=5, verbose=0)
    off = []
    for layer, before in zip(norms, values, strict=True):
        _, _, mean, variance = layer.get_weights()
        off.append(np.sqrt(np.mean((before.reshape(-1, len(mean)).mean(0) - mean) ** 2 / variance)))
    return max(off)


def with_layer(model, kind, other):
    """The model with all layers of a kind replaced."""

    def clone(layer):
        if isinstance(layer, kind):
            size = {"pool_size": layer.pool_size} if hasattr(layer, "pool_size") else {}
            return other(name=layer.name, **size)
        return type(layer).from_config(layer.get_config())

    changed = keras.models.clone_model(model, clone_function=clone)
    changed.set_weights(model.get_weights())
    return changed


@pytest.mark.full
@pytest.mark.real_data
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_activations_and_poolings_fit_what_training_left(shared_data, name):
    """On real music, means are those in the file; with other activations or poolings they are not."""
    release = released.describe(name)
    model = tagger_of(release, files(shared_data)[name]).model
    songs = sorted((shared_data / "gtzan" / "full30").glob("*/*.ogg"))
    S = [release.front_end.compute(audio.load(song, sr=16000)[0])[:, : release.input.length] for song in songs]
    x = release.front_end.scale(np.stack(S))[..., None]
    off = means_off(model, x)
    assert off < 0.55
    layers = keras.layers
    assert means_off(with_layer(model, layers.ReLU, layers.ELU), x) > 1.5 * off
    assert means_off(with_layer(model, layers.MaxPooling2D, layers.AveragePooling2D), x) > 1.5 * off
