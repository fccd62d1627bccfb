import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcolor_jax.color import AB_BINS, rebalancing_weights, smooth_prior
from semcolor_jax.errors import UserError

COUNTS = np.random.default_rng(0).gamma(0.3, size=313) + 1e-3
PRIORS = hnp.arrays(np.float64, 313, elements=st.floats(0, 1e6)).filter(lambda prior: prior.sum() > 1e-3)


def slow_smooth(prior: np.ndarray, sigma: float) -> np.ndarray:
    """Plain Sinkhorn: normalises rows and columns in turn."""
    bins = AB_BINS.astype(np.float64)
    kernel = np.zeros((313, 313))
    for i in range(313):
        for j in range(313):
            kernel[i, j] = np.exp(-((bins[i] - bins[j]) ** 2).sum() / (2 * sigma**2))
    for _ in range(2000):
        kernel /= kernel.sum(axis=1, keepdims=True)
        kernel /= kernel.sum(axis=0, keepdims=True)
    np.testing.assert_allclose(kernel.sum(axis=1), 1, rtol=1e-9)
    probabilities = prior / prior.sum()
    return np.array([sum(kernel[q] * probabilities) for q in range(313)])


def slow_weights(smooth: np.ndarray, lambda_: float) -> np.ndarray:
    weights = [1 / ((1 - lambda_) * smooth[q] + lambda_ / 313) for q in range(313)]
    expectation = sum(smooth[q] * weights[q] for q in range(313))
    return np.array([weight / expectation for weight in weights])


def test_equals_a_slow_loop():
    smooth = slow_smooth(COUNTS, 5.0)
    np.testing.assert_allclose(smooth_prior(COUNTS, 5.0), smooth, rtol=1e-8)
    np.testing.assert_allclose(rebalancing_weights(COUNTS), slow_weights(smooth, 0.5), rtol=1e-5)
    np.testing.assert_allclose(rebalancing_weights(COUNTS, lambda_=0.1), slow_weights(smooth, 0.1), rtol=1e-5)


@given(PRIORS, st.floats(0.01, 1), st.sampled_from([1.0, 5.0, 20.0]))
@settings(max_examples=30, deadline=None)
def test_the_expected_weight_is_1(prior, lambda_, sigma):
    weights = rebalancing_weights(prior, lambda_=lambda_, sigma=sigma)
    assert weights.dtype == np.float32
    assert weights.shape == (313,)
    assert np.sum(smooth_prior(prior, sigma) * weights) == pytest.approx(1, abs=1e-5)


@given(PRIORS, st.sampled_from([1.0, 5.0, 20.0]))
@settings(max_examples=30, deadline=None)
def test_smoothing_keeps_the_mass_and_gives_probabilities(prior, sigma):
    smooth = smooth_prior(prior, sigma)
    assert np.all(smooth >= 0)
    assert np.sum(smooth) == pytest.approx(1, abs=1e-12)
    assert smooth.max() <= (prior / prior.sum()).max() * (1 + 1e-9)


@pytest.mark.parametrize("sigma", [1.0, 5.0, 20.0, 100.0])
def test_a_uniform_prior_stays_uniform_up_to_the_hull(sigma):
    np.testing.assert_allclose(smooth_prior(np.ones(313), sigma), 1 / 313, rtol=1e-9)


def test_every_bin_gives_away_exactly_its_mass():
    # At the hull as inside: otherwise, two priors would not mix in their own proportions.
    first, second = np.eye(313)[0], np.eye(313)[150]
    mixed = smooth_prior(0.9 * first + 0.1 * second)
    np.testing.assert_allclose(mixed, 0.9 * smooth_prior(first) + 0.1 * smooth_prior(second), atol=1e-12)


def test_a_small_sigma_leaves_the_prior_alone():
    np.testing.assert_allclose(smooth_prior(COUNTS, 0.5), COUNTS / COUNTS.sum(), rtol=1e-9)


def test_lambda_1_gives_all_ones():
    np.testing.assert_allclose(rebalancing_weights(COUNTS, lambda_=1.0), 1, rtol=1e-6)


def test_rare_bins_weigh_more():
    smooth, weights = smooth_prior(COUNTS), rebalancing_weights(COUNTS)
    assert np.all(np.diff(weights[np.argsort(smooth)]) <= 0)
    assert weights[np.argmin(smooth)] > 1 > weights[np.argmax(smooth)]


def test_counts_and_probabilities_are_alike():
    np.testing.assert_allclose(rebalancing_weights(COUNTS), rebalancing_weights(COUNTS / COUNTS.sum()), rtol=1e-6)
    np.testing.assert_allclose(rebalancing_weights(np.arange(313)), rebalancing_weights(np.arange(313.0)), rtol=1e-6)


def test_lambda_0_is_the_inverse_prior():
    smooth = smooth_prior(COUNTS)
    np.testing.assert_allclose(rebalancing_weights(COUNTS, lambda_=0.0), 1 / (313 * smooth), rtol=1e-5)


def test_lambda_0_refuses_empty_bins():
    with pytest.raises(UserError, match="lambda must be above 0"):
        rebalancing_weights(np.eye(313)[0], lambda_=0.0)


@pytest.mark.parametrize(
    "prior",
    [
        np.ones(312),
        np.ones((313, 1)),
        np.zeros(313),
        -np.ones(313),
        np.full(313, np.nan),
        np.full(313, np.inf),
    ],
    ids=["short", "matrix", "zero", "negative", "nan", "inf"],
)
def test_a_wrong_prior_is_refused(prior):
    with pytest.raises(UserError, match="colour prior"):
        rebalancing_weights(prior)


@pytest.mark.parametrize("lambda_", [-0.1, 1.1, float("nan")])
def test_lambda_must_be_in_range(lambda_):
    with pytest.raises(UserError, match="lambda"):
        rebalancing_weights(COUNTS, lambda_=lambda_)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), float("nan")])
def test_sigma_must_be_positive(sigma):
    with pytest.raises(UserError, match="sigma"):
        smooth_prior(COUNTS, sigma)
