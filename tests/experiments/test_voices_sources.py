"""Sources of a mix and their contributions, where both are known."""

import itertools

import numpy as np
import pytest

from musictools.experiments import voices_sources as sources


@pytest.fixture(scope="module")
def scene():
    """Levels in dB: a steady tone in band 5, a vibrato around band 20, a click in frame 100; masks of the three."""
    tone, vibrato, click = (np.zeros((40, 200), dtype=bool) for _ in range(3))
    tone[5] = True
    vibrato[np.round(20 + 4 * np.sin(np.arange(200) / 8)).astype(int), np.arange(200)] = True
    vibrato |= np.roll(vibrato, 1, axis=1) | np.roll(vibrato, -1, axis=1)
    click[:, 100] = True
    S = np.full((40, 200), -90.0)
    S[tone | vibrato | click] = 0.0
    return S, tone & ~click, vibrato & ~click, click & ~tone & ~vibrato


@pytest.mark.parametrize("kind", sources.KINDS)
def test_shares_add_up_to_one(kind):
    shares = sources.divide(np.random.default_rng(0).uniform(-40, 0, (40, 200)), kind, n_components=4)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-4)


def test_textures_tell_steady_fluctuating_and_percussive_sound_apart(scene):
    S, tone, vibrato, click = scene
    sustained, fluctuating, percussive = sources.divide(S, "textures")
    assert sustained[tone].mean() > 0.95
    assert percussive[click].mean() > 0.95
    assert fluctuating[vibrato].mean() > 0.6
    assert max(fluctuating[tone].mean(), fluctuating[click].mean()) < 0.05


def test_foreground_is_what_does_not_repeat():
    rng = np.random.default_rng(0)
    bar = rng.random((40, 100)) ** 4
    background = np.tile(bar, 4)
    voice = np.zeros_like(background)
    voice[17, 130:170] = 3.0
    foreground, repeating = sources.divide(20 * np.log10(background + voice + 1e-4), "foreground")
    assert foreground[17, 130:170].mean() > 0.8
    assert np.median(repeating[:, 220:280]) > 0.95


def test_an_unknown_kind_is_refused(scene):
    with pytest.raises(ValueError, match="kind must be one of nmf, textures, foreground"):
        sources.divide(scene[0], "stems")


def hard_shares(rng, k=3, shape=(12, 50)):
    return np.eye(k)[rng.integers(0, k, shape)].transpose(2, 0, 1)


def test_pooling_recovers_the_sources_relevance_from_noise():
    rng = np.random.default_rng(0)
    shares = hard_shares(rng)
    truth = np.tensordot([1.0, -1.0, 0.5], shares, axes=1)
    noisy = truth + rng.normal(0, 3, truth.shape)
    error = np.abs(sources.pooled(noisy, shares, frames=1000) - truth).max()
    assert error < 0.5
    np.testing.assert_allclose(sources.pooled(truth, shares, frames=3), truth, atol=1e-6)


def test_pooling_against_loops():
    rng = np.random.default_rng(1)
    R, shares = rng.normal(size=(4, 30)), rng.dirichlet(np.ones(3), (4, 30)).transpose(2, 0, 1)
    window = np.exp(-0.5 * (np.arange(-12, 13) / 3.0) ** 2)
    window /= window.sum()
    expected = np.zeros_like(R)
    for k in range(3):
        for t in range(30):
            total = size = 0.0
            for offset, weight in zip(range(-12, 13), window, strict=True):
                at = t + offset
                at = -at - 1 if at < 0 else 59 - at if at > 29 else at  # reflected at the ends
                total += weight * (R[:, at] * shares[k, :, at]).sum()
                size += weight * shares[k, :, at].sum()
            expected[:, t] += shares[k, :, t] * total / size
    np.testing.assert_allclose(sources.pooled(R, shares, frames=3.0), expected, atol=1e-8)


def power(S):
    return (10 ** (S / 10)).sum(axis=(1, 2))


def test_contributions_to_power_are_what_twenty_decibels_take_away():
    rng = np.random.default_rng(0)
    S, shares = rng.normal(-10, 5, (12, 50)), hard_shares(rng)
    expected = [0.99 * (10 ** (S / 10) * share).sum() for share in shares]
    np.testing.assert_allclose(sources.removed(power, S, shares), expected, rtol=1e-5)
    np.testing.assert_allclose(sources.shapley(power, S, shares), expected, rtol=1e-5)


def test_shapley_values_against_all_orders():
    rng = np.random.default_rng(3)
    S, shares = rng.normal(-10, 5, (12, 50)), rng.dirichlet(np.ones(3), (12, 50)).transpose(2, 0, 1)

    def score(spectrograms):
        return np.log(power(spectrograms)) ** 2  # sources interact

    def kept(subset):
        attenuated = 1 - sum((shares[i] for i in subset), np.zeros(S.shape))
        return score((S + 10 * np.log10(1 - 0.99 * np.clip(attenuated, 0, 1)))[None])[0]

    expected = np.zeros(3)
    for order in itertools.permutations(range(3)):
        for place, i in enumerate(order):
            expected[i] += (kept(order[: place + 1]) - kept(order[:place])) / 6
    values = sources.shapley(score, S, shares)
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    assert not np.allclose(values, sources.removed(score, S, shares), rtol=0.05)
