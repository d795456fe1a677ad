"""CAVs: the classifier is scikit-learn's, and errors are clear."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from musictools.concepts.vectors import RandomPool, fit_cav, fit_cavs


@pytest.fixture
def sets():
    rng = np.random.default_rng(1)
    return rng.normal(size=(25, 40)) + np.eye(40)[3] * 2, rng.normal(size=(35, 40))


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 10.0])
def test_cav_is_the_ridge_classifier_of_scikit_learn(sets, ridge):
    both, is_concept = np.concatenate(sets), np.r_[np.ones(25), np.zeros(35)]
    spread = ((both - both.mean(axis=0)) ** 2).sum(axis=1).mean()
    theirs = RidgeClassifier(alpha=ridge * spread, tol=1e-10).fit(both, is_concept)
    cav = fit_cav(*sets, ridge=ridge)
    np.testing.assert_allclose(cav.coefficients, np.ravel(theirs.coef_), rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(cav.intercept, np.ravel(theirs.intercept_)[0], rtol=1e-6)
    balanced = (theirs.predict(sets[0]).mean() + 1 - theirs.predict(sets[1]).mean()) / 2
    assert cav.accuracy(*sets) == pytest.approx(balanced)
    assert np.linalg.norm(cav.vector) == pytest.approx(1)


def test_cav_does_not_depend_on_the_scale_of_the_activations(sets):
    np.testing.assert_allclose(fit_cav(*sets).vector, fit_cav(*(1000 * s for s in sets)).vector, atol=1e-9)


def test_runs_are_single_fits(sets):
    concept, pool = sets
    no = np.zeros(35, bool)
    cavs = fit_cavs(concept, no[:25], RandomPool(pool, no), n_runs=3, rng=np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for vector in cavs.vectors:
        alone = fit_cav(concept, pool[rng.choice(35, 25, replace=False)])
        np.testing.assert_allclose(vector, alone.vector, atol=1e-4)
    assert np.isnan(cavs.accuracy)
    np.testing.assert_allclose(cavs.mean, cavs.vectors.mean(axis=0) / np.linalg.norm(cavs.vectors.mean(axis=0)))


def test_accuracy_is_that_of_examples_not_fitted_on():
    """Noise in many dimensions is separated perfectly where it was fitted, and by chance elsewhere."""
    rng = np.random.default_rng(0)
    concept, pool = rng.normal(size=(80, 300)), rng.normal(size=(400, 300))
    held, pool_held = np.arange(80) % 4 == 0, np.arange(400) % 4 == 0
    cavs = fit_cavs(concept, held, RandomPool(pool, pool_held), rng=rng, ridge=1e-3)
    assert 0.35 < cavs.accuracy < 0.65
    fitted = fit_cav(concept[~held], pool[~pool_held][:60], ridge=1e-3)
    assert fitted.accuracy(concept[~held], pool[~pool_held][:60]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concept": np.zeros((5, 4))}, r"concept must hold at least 6 activations.*Got shape \(5, 4\)"),
        ({"random": np.zeros((6,))}, "random must hold at least 6 activations"),
        ({"concept": np.full((6, 4), np.nan)}, "concept must be finite"),
        ({"random": np.ones((8, 4))}, "All activations are the same"),
        ({"ridge": 0.0}, "ridge must be positive"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit_cav(**{"concept": np.ones((8, 4)), "random": np.zeros((8, 4)), **change})


def test_held_out_accuracy_of_a_run_is_that_of_its_classifier(sets):
    concept, pool = sets
    held, pool_held = np.arange(25) % 3 == 0, np.arange(35) % 3 == 0
    cavs = fit_cavs(concept, held, RandomPool(pool, pool_held), n_runs=2, rng=np.random.default_rng(5))
    rng = np.random.default_rng(5)
    fitted = [
        fit_cav(concept[~held], pool[rng.choice(np.flatnonzero(~pool_held), 16, replace=False)]) for _ in range(2)
    ]
    tested = [pool[rng.choice(np.flatnonzero(pool_held), 9, replace=False)] for _ in range(2)]
    expected = [one.accuracy(concept[held], random) for one, random in zip(fitted, tested, strict=True)]
    assert cavs.accuracies.tolist() == pytest.approx(expected)


def test_too_few_examples_to_fit_are_refused():
    no = np.zeros(20, bool)
    with pytest.raises(ValueError, match="at least 6 examples of the concept to fit. Got 5"):
        fit_cavs(np.eye(5, 20), no[:5], RandomPool(np.eye(20), no), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 6 random examples to fit. Got 4"):
        RandomPool(np.eye(20), np.arange(20) > 3)
    with pytest.raises(ValueError, match="All activations are the same"):
        RandomPool(np.ones((20, 5)), no)
