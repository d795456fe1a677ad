"""Whether a song is like the reference: known distributions, a slow distance, files that are damaged."""

import keras
import numpy as np
import pytest

from musictools import familiarity
from musictools.familiarity import Familiarity, Reference
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd


@pytest.fixture(scope="module")
def clips():
    """600 correlated vectors; the last value is always 0, as of a unit that is never active."""
    rng = np.random.default_rng(0)
    return np.c_[rng.standard_normal((600, 4)) @ rng.standard_normal((4, 4)) + 3, np.zeros(600)]


def test_percentiles_of_more_clips_like_the_reference_are_even(clips):
    reference = Reference.fit(clips[:400], what="400 clips")
    percentiles = np.sort([reference(one).percentile for one in clips[400:]])
    assert np.abs(percentiles / 100 - np.linspace(0, 1, 200)).max() < 0.1  # Kolmogorov and Smirnov: 0.096 at 5 %
    assert np.mean([reference(one).unlike for one in clips[400:]]) < 0.04


def test_the_distance_is_mahalanobis(clips):
    reference, x = Reference.fit(clips, what="clips"), clips[7] + 0.5
    covariance = np.cov(clips.T)
    shrunk = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance))
    shrunk += 1e-6 * np.diag(covariance).mean() * np.eye(5)
    deviation = x - clips.mean(axis=0)
    slow = np.sqrt(deviation @ np.linalg.inv(shrunk) @ deviation)
    assert np.linalg.norm(reference.whitening @ (x - reference.mean)) == pytest.approx(slow, rel=1e-3)


def test_what_lies_in_an_unusual_direction_is_unlike_though_every_value_is_usual(clips):
    line = np.random.default_rng(1).standard_normal(500)
    reference = Reference.fit(np.c_[line, line + 0.01 * clips[:500, 0]], what="a line")
    assert not reference([1.0, 1.0]).unlike
    assert reference([1.0, -1.0]).unlike


def test_sentences():
    near, far = Familiarity(20.0, "400 clips"), Familiarity(99.5, "400 clips")
    assert near.text.startswith("The song is like what the network knows: 80 % of the reference clips (400 clips)")
    assert far.text.startswith("The song is unlike what the network knows")
    assert (near.unlike, far.unlike) == (False, True)


def test_statistics_are_kept_beside_the_model_or_in_its_card(clips, tmp_path):
    layers = [keras.Input((40, 30, 1)), keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.Dense(2)]
    network = keras.Sequential([*layers, keras.layers.Activation("sigmoid")])
    card = ModelCard(
        task="tags", model="a", outputs=["b", "c"], length=30, step=30, front_end=FrontEnd(8000, 512, 256, 40)
    )
    tagger, file = Tagger(network, card), tmp_path / "a.keras"
    assert familiarity.find(tagger, file) is None
    reference = Reference.fit(clips, what="600 clips")
    carried = Tagger(network, card.model_copy(update={"provenance": {"familiarity": reference.to_text()}}))
    assert familiarity.find(carried, file).what == "600 clips"
    reference.save(file)
    for one in (familiarity.find(tagger, file), familiarity.find(carried)):
        assert one(clips[3]) == reference(clips[3])
    file.with_suffix(".familiarity.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="a.familiarity.npz: No statistics of reference clips"):
        familiarity.find(tagger, file)


def test_bad_input(clips):
    with pytest.raises(ValueError, match="at least 20 clips"):
        Reference.fit(clips[:19], what="few")
    with pytest.raises(ValueError, match="at least 20 clips"):
        Reference.fit(np.where(clips > 5, np.nan, clips), what="holes")
    with pytest.raises(ValueError, match=r"embedding must have shape \(5,\)"):
        Reference.fit(clips, what="clips")(np.zeros(4))


@pytest.mark.parametrize("n_bins", [1, 40, 96, 128])
def test_the_description_is_the_mean_and_the_deviation_of_the_bands(n_bins):
    front_end = FrontEnd(8000, 512, 256, n_bins) if n_bins > 1 else FrontEnd(8000, 2, 1, 1, kind="waveform")
    S = np.random.default_rng(0).uniform(-80, 40, (n_bins, 50)).astype(np.float32)
    x, size = front_end.scale(S), 1 if n_bins <= 64 else 2
    slow = [
        np.mean([measure(x[band]) for band in range(start, min(start + size, n_bins))])
        for measure in (np.mean, np.std)
        for start in range(0, n_bins, size)
    ]
    np.testing.assert_allclose(familiarity.embedding(S, front_end), slow, rtol=1e-4)
