import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from stub_network import Stripes, photo_of

from semcolor_jax.color import annealed_mean, rgb_to_lab
from semcolor_jax.color.bins import AB_BINS
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.probability import probability_near
from semcolor_jax.inference.variants import make_variants, tilted_means

RED, BLUE, GREEN = (np.flatnonzero(np.all(ab == AB_BINS, axis=1))[0] for ab in ((40, 20), (0, -40), (-30, 30)))


def log_normal(centre, spread, weight=1.0):
    return np.log(weight) - np.sum((AB_BINS - AB_BINS[centre]) ** 2, axis=-1) / (2 * spread**2)


def two_regions():
    """Logits (10, 16, 313): green for certain on the left; on the right likely red, but blue is possible."""
    logits = np.empty((10, 16, 313), np.float32)
    logits[:, :8] = log_normal(GREEN, 4)
    logits[:, 8:] = np.logaddexp(log_normal(RED, 10, 0.55), log_normal(BLUE, 10, 0.45))
    return logits


class Undecided(Stripes):
    def __call__(self, lightness):
        logits = two_regions()
        rows, columns = (np.arange(n) * m // n for n, m in zip(lightness.shape[1:3], logits.shape[:2], strict=True))
        return dataclasses.replace(
            super().__call__(lightness), color_logits=jnp.asarray(logits[rows[:, None], columns][None])
        )


@pytest.fixture(scope="module")
def variants():
    logits = two_regions()
    return make_variants(logits, np.asarray(annealed_mean(logits)), count=5)


def test_the_usual_colours_are_among_them_and_all_differ(variants):
    usual = np.asarray(annealed_mean(two_regions()))
    assert sum(np.array_equal(variant.ab, usual) for variant in variants) == 1
    for i, first in enumerate(variants):
        for second in variants[i + 1 :]:
            assert np.abs(first.ab - second.ab).max() > 3


def test_likeliest_first_by_the_geometric_mean_near_the_colours(variants):
    likelihoods = [variant.likelihood for variant in variants]
    assert likelihoods == sorted(likelihoods, reverse=True)
    logits = two_regions().astype(np.float64)
    for variant in variants:
        p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        near = [[p[y, x][np.hypot(*(AB_BINS - variant.ab[y, x]).T) <= 20].sum() for x in range(16)] for y in range(10)]
        np.testing.assert_allclose(variant.likelihood, np.exp(np.mean(np.log(near))), rtol=1e-4)


def test_a_region_changes_as_a_whole_and_a_certain_one_hardly(variants):
    usual = np.asarray(annealed_mean(two_regions()))
    for variant in variants:
        shift = variant.ab - usual
        assert np.ptp(shift[:, :8], axis=(0, 1)).max() < 1e-3
        assert np.ptp(shift[:, 8:], axis=(0, 1)).max() < 1e-3
        assert np.linalg.norm(shift[0, 0]) < 5
    right = np.array([variant.ab[0, 12] for variant in variants])
    nearest = [np.linalg.norm(right - AB_BINS[bin], axis=-1).min() for bin in (RED, BLUE)]
    assert max(nearest) < 15  # the mean of both lies 36 away from each


def test_smooth_logits_give_smooth_variants():
    share = np.linspace(0, 1, 24)[None, :, None]
    logits = np.broadcast_to((1 - share) * log_normal(RED, 12) + share * log_normal(BLUE, 12), (4, 24, 313))
    for variant in make_variants(logits.astype(np.float32), np.asarray(annealed_mean(logits)), count=4):
        assert np.linalg.norm(np.diff(variant.ab, axis=1), axis=-1).max() < 8


def test_the_same_each_time(variants):
    again = make_variants(two_regions(), np.asarray(annealed_mean(two_regions())), count=5)
    for first, second in zip(variants, again, strict=True):
        np.testing.assert_array_equal(first.ab, second.ab)


def test_a_tilt_moves_the_mean_of_a_normal_distribution_by_its_spread():
    logits = log_normal(RED, 20).astype(np.float32)[None, None]
    (shift,) = np.asarray(tilted_means(logits, np.array([[0, 0.3]], np.float32), 0.25) - annealed_mean(logits, 0.25))
    np.testing.assert_allclose(shift[0, 0], [0, 3], atol=0.4)  # spread 20 * sqrt(0.25); clipping takes some of it


def test_probability_near_counts_the_bins_within_the_radius():
    logits = np.random.default_rng(0).normal(size=(3, 4, 313)).astype(np.float32)
    ab = np.random.default_rng(1).uniform(-40, 40, (2, 3, 4, 2)).astype(np.float32)
    near = np.asarray(probability_near(logits, ab, 15.0))
    for n, y, x in np.ndindex(2, 3, 4):
        p = np.exp(logits[y, x]) / np.exp(logits[y, x]).sum()
        np.testing.assert_allclose(near[n, y, x], p[np.hypot(*(AB_BINS - ab[n, y, x]).T) <= 15].sum(), rtol=1e-5)


def test_of_a_result_they_keep_its_lightness_and_run_the_network_once_more():
    network = Undecided()
    result = Colorizer(network, side=16, choice=ColorChoice("soft")).colorize(photo_of(30, 40))
    variants = result.variants(3)
    lightness = rgb_to_lab(result.photo.pixels, xp=np)[..., 0]
    for variant in variants:
        assert np.abs(rgb_to_lab(variant.photo.pixels, xp=np)[..., 0] - lightness).mean() < 0.6
        confidence = variant.confidence()
        assert confidence is not None
        assert confidence.shape == variant.ab.shape[:2]
    assert len({variant.photo.pixels.tobytes() for variant in variants}) == 3
    assert len(network.shapes) == 2


@pytest.mark.parametrize("count", [0, 13])
def test_numbers_out_of_range_are_refused(count):
    with pytest.raises(UserError, match=r"1\.\.12"):
        make_variants(two_regions(), np.zeros((10, 16, 2), np.float32), count=count)


def test_a_network_without_distributions_says_so():
    result = Colorizer(Stripes(), side=16, choice=ColorChoice("reg")).colorize(photo_of(30, 40))
    with pytest.raises(UserError, match="no other colours"):
        result.variants(2)
