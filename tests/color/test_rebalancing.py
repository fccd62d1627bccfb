import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from semcolor_jax.color import AB_BINS, rebalancing_weights, smooth_prior
from semcolor_jax.errors import UserError

COUNTS = np.random.default_rng(0).gamma(0.3, size=313) + 1e-3
PRIORS = hnp.arrays(np.float64, 313, elements=st.floats(0, 1e6)).filter(lambda prior: prior.sum() > 1e-3)


def slow_smooth(prior, sigma):
    """Eq. 11 by scipy: zeros between the bins, Keys' cubic as a filter, and a Gaussian filter, in steps of 1."""
    step, margin = 10, 40
    grid = np.zeros((2 * margin + 191, 2 * margin + 221))
    places = (AB_BINS - [-90, -110] + margin).astype(int)
    grid[tuple(places.T)] = prior / prior.sum()
    distance = np.abs(np.arange(-2 * step, 2 * step + 1)) / step
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    keys = np.where(distance <= 1, near, far)  # Keys 1981, a = -1/2
    for axis in (0, 1):
        grid = scipy.ndimage.convolve1d(grid, keys, axis=axis, mode="constant")
    smooth = scipy.ndimage.gaussian_filter(np.maximum(grid, 0), sigma, mode="constant", truncate=12)[tuple(places.T)]
    return smooth / smooth.sum()


def slow_weights(smooth: np.ndarray, uniform_share: float) -> np.ndarray:
    weights = [1 / ((1 - uniform_share) * smooth[q] + uniform_share / 313) for q in range(313)]
    expectation = sum(smooth[q] * weights[q] for q in range(313))
    return np.array([weight / expectation for weight in weights])


def test_equals_bicubic_interpolation_and_a_gaussian_by_scipy():
    smooth = slow_smooth(COUNTS, 5.0)
    np.testing.assert_allclose(smooth_prior(COUNTS, 5.0), smooth, rtol=1e-8)
    np.testing.assert_allclose(rebalancing_weights(COUNTS), slow_weights(smooth, 0.5), rtol=1e-5)
    np.testing.assert_allclose(rebalancing_weights(COUNTS, uniform_share=0.1), slow_weights(smooth, 0.1), rtol=1e-5)


@given(PRIORS, st.floats(0.01, 1), st.sampled_from([1.0, 5.0, 20.0]))
@settings(max_examples=30, deadline=None)
def test_the_expected_weight_is_1(prior, uniform_share, sigma):
    weights = rebalancing_weights(prior, uniform_share=uniform_share, sigma=sigma)
    assert weights.dtype == np.float32
    assert weights.shape == (313,)
    assert np.sum(smooth_prior(prior, sigma) * weights) == pytest.approx(1, abs=1e-5)


@given(PRIORS, st.sampled_from([1.0, 5.0, 20.0]))
@settings(max_examples=30, deadline=None)
def test_smoothing_gives_probabilities(prior, sigma):
    smooth = smooth_prior(prior, sigma)
    assert np.all(smooth >= 0)
    assert np.sum(smooth) == pytest.approx(1, abs=1e-12)


def test_a_uniform_prior_stays_uniform_inside_and_falls_towards_the_hull():
    smooth = smooth_prior(np.ones(313))
    inside = np.max(np.abs(AB_BINS), axis=-1) <= 20
    np.testing.assert_allclose(smooth[inside], smooth[inside].mean(), rtol=1e-4)
    assert smooth.min() < 0.7 * smooth[inside].mean()


def test_a_spike_spreads_alike_in_all_four_directions():
    centre = int(np.flatnonzero(np.all(AB_BINS == 0, axis=-1))[0])
    smooth = smooth_prior(np.eye(313)[centre])
    beside = [np.flatnonzero(np.all(step == AB_BINS, axis=-1))[0] for step in ([10, 0], [-10, 0], [0, 10], [0, -10])]
    np.testing.assert_allclose(smooth[beside], smooth[beside[0]], rtol=1e-12)
    assert 0 < smooth[beside[0]] < smooth[centre]


def test_a_small_sigma_leaves_the_prior_alone():
    np.testing.assert_allclose(smooth_prior(COUNTS, 0.1), COUNTS / COUNTS.sum(), rtol=1e-9)


def test_lambda_1_gives_all_ones():
    np.testing.assert_allclose(rebalancing_weights(COUNTS, uniform_share=1.0), 1, rtol=1e-6)


def test_rare_bins_weigh_more():
    smooth, weights = smooth_prior(COUNTS), rebalancing_weights(COUNTS)
    assert np.all(np.diff(weights[np.argsort(smooth)]) <= 0)
    assert weights[np.argmin(smooth)] > 1 > weights[np.argmax(smooth)]


def test_counts_and_probabilities_are_alike():
    for total in (0.5, 1, 2):
        part = COUNTS / COUNTS.sum() * total
        np.testing.assert_allclose(rebalancing_weights(COUNTS), rebalancing_weights(part), rtol=1e-6)
    np.testing.assert_allclose(rebalancing_weights(np.arange(313)), rebalancing_weights(np.arange(313.0)), rtol=1e-6)


def test_lambda_0_is_the_inverse_prior():
    smooth = smooth_prior(COUNTS)
    np.testing.assert_allclose(rebalancing_weights(COUNTS, uniform_share=0.0), 1 / (313 * smooth), rtol=1e-5)


def test_lambda_0_refuses_empty_bins():
    with pytest.raises(UserError, match="lambda must be above 0"):
        rebalancing_weights(np.eye(313)[0], uniform_share=0.0)


@pytest.mark.usefixtures("no_shape_checks")
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


@pytest.mark.parametrize("uniform_share", [-0.1, 1.1, float("nan")])
def test_the_share_must_be_in_range(uniform_share):
    with pytest.raises(UserError, match="lambda"):
        rebalancing_weights(COUNTS, uniform_share=uniform_share)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), float("nan")])
def test_sigma_must_be_positive(sigma):
    with pytest.raises(UserError, match="sigma"):
        smooth_prior(COUNTS, sigma)
