"""Hue, chroma and their histograms against scikit-image and numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import hsv2rgb, rgb2hsv

from semcolor_jax.color.hue_chroma import (
    HueChroma,
    decode_histograms,
    histogram_bin,
    hue_chroma_to_rgb,
    rgb_to_hue_chroma,
)


@pytest.fixture
def rgb():
    colors = np.random.default_rng(0).uniform(size=(500, 3)).astype(np.float32)
    greys = np.repeat(np.linspace(0, 1, 5, dtype=np.float32)[:, None], 3, axis=1)
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3).astype(np.float32)
    return np.concatenate([colors, greys, corners])


def test_hue_and_chroma_are_those_of_the_hsv_hexcone(rgb):
    hsv = rgb2hsv(rgb.astype(np.float64))
    hue, chroma = rgb_to_hue_chroma(jnp.asarray(rgb))
    np.testing.assert_allclose(chroma, hsv[:, 1] * hsv[:, 2], atol=1e-6)
    difference = np.abs(np.asarray(hue) - hsv[:, 0])
    assert np.max(np.minimum(difference, 1 - difference)) < 1e-5


def test_no_value_along_the_way_is_nan(rgb):
    """Users look for their own NaN by this switch of JAX."""
    with jax.debug_nans(True):
        rgb_to_hue_chroma(jnp.asarray(rgb))


def test_back_to_rgb_as_scikit_image_does(rgb):
    hue, chroma = rgb_to_hue_chroma(jnp.asarray(rgb))
    grey = rgb.mean(-1)
    value = grey + np.asarray(chroma) / 2
    saturation = 2 * np.asarray(chroma) / np.where(value > 0, 2 * grey + np.asarray(chroma), 1)
    reference = hsv2rgb(np.clip(np.stack([hue, saturation, value], axis=-1), 0, 1).astype(np.float64))
    reference = np.clip(reference - reference.mean(-1, keepdims=True) + grey[:, None], 0, 1)
    np.testing.assert_allclose(hue_chroma_to_rgb(HueChroma(hue, chroma), grey=jnp.asarray(grey)), reference, atol=1e-5)


@given(st.floats(0, 1, width=32))
@settings(deadline=None)
def test_bins_cover_0_to_1(value):
    assert int(histogram_bin(jnp.float32(value))) == min(int(np.float32(value) * 32), 31)


def test_decoding_by_the_authors_rule():
    """Circular mean of the hue; median of the chroma, counted as the bins whose cumulated share is below a half."""
    rng = np.random.default_rng(1)
    histograms = rng.dirichlet(np.full(32, 0.2), size=(2, 50))
    hue, chroma = decode_histograms(HueChroma(*jnp.float32(histograms)))
    vectors = histograms[0] * np.exp(2j * np.pi * (np.arange(32) + 0.5) / 32)
    expected_hue = np.angle(vectors.sum(-1)) / (2 * np.pi) % 1.0
    median = ((np.cumsum(histograms[1], axis=-1) < 0.5).sum(-1) + 0.5) / 32
    fade = np.clip(np.abs(vectors.mean(-1)), 0, 0.03) / 0.03
    np.testing.assert_allclose(hue, expected_hue, atol=1e-4)
    np.testing.assert_allclose(chroma, median * fade, atol=1e-4)


def test_an_undecided_hue_is_grey():
    uniform = jnp.full(32, 1 / 32)
    assert float(decode_histograms(HueChroma(uniform, uniform)).chroma) < 1e-4
