import hypothesis.extra.numpy as hnp
import jax
import numpy as np
import pytest
import skimage.color
from hypothesis import given, settings
from hypothesis import strategies as st

from semcolor_jax.color import fit_to_gamut, in_gamut, lab_to_rgb, rgb_to_lab
from semcolor_jax.color.gamut import TOLERANCE, ray_of_lab, srgb8, srgb16
from semcolor_jax.color.lab import lab_to_linear_rgb

fit = jax.jit(fit_to_gamut)
ANY_LAB = hnp.arrays(
    np.float32,
    (16, 3),
    elements=st.floats(0, 1, width=32),
    fill=st.nothing(),
).map(lambda unit: (unit * [100, 300, 300] - [0, 150, 150]).astype(np.float32))
RGB = hnp.arrays(np.float32, (16, 3), elements=st.floats(0, 1, width=32))


@given(ANY_LAB)
@settings(max_examples=50, deadline=None)
def test_lightness_and_hue_stay_and_chroma_never_grows(lab):
    fitted = np.asarray(fit(lab))
    np.testing.assert_array_equal(fitted[:, 0], lab[:, 0])
    before, after = lab[:, 1:].astype(np.float64), fitted[:, 1:].astype(np.float64)
    assert np.all(np.hypot(*after.T) <= np.hypot(*before.T) * (1 + 1e-6))
    np.testing.assert_allclose(before[:, 0] * after[:, 1], before[:, 1] * after[:, 0], atol=5e-3)
    assert np.all(np.sum(before * after, axis=1) >= 0)


@given(ANY_LAB)
@settings(max_examples=50, deadline=None)
def test_the_result_is_in_the_gamut_and_keeps_its_lightness_as_rgb(lab):
    fitted = fit(lab)
    assert np.all(in_gamut(fitted))
    lightness = skimage.color.rgb2lab(np.asarray(lab_to_rgb(fitted)).astype(np.float64))[:, 0]
    np.testing.assert_allclose(lightness, lab[:, 0], atol=0.1)


@given(RGB)
@settings(max_examples=50, deadline=None)
def test_colors_of_srgb_are_inside_and_come_back_unchanged(rgb):
    lab = rgb_to_lab(rgb)
    assert np.all(in_gamut(lab))
    np.testing.assert_array_equal(fit(lab), lab)


def test_all_grey_is_inside():
    lab = np.zeros((1001, 3), np.float32)
    lab[:, 0] = np.linspace(0, 100, 1001)
    assert np.all(in_gamut(lab))


def test_faces_of_the_cube_are_inside_and_just_beyond_is_not():
    rgb = np.random.default_rng(0).random((1000, 3))
    rgb[np.arange(1000), np.arange(1000) % 3] = np.arange(1000) % 2
    lab = skimage.color.rgb2lab(rgb)
    assert np.all(in_gamut(lab.astype(np.float32)))
    saturated = skimage.color.rgb2lab(np.eye(3)) * [1, 1.02, 1.02]
    assert not np.any(in_gamut(saturated.astype(np.float32)))


def test_the_chroma_reaches_the_border():
    # A primary with more chroma than its own must come back to the primary.
    lab = skimage.color.rgb2lab(np.eye(3))
    fitted = np.asarray(fit((lab * [1, 1.3, 1.3]).astype(np.float32)))
    np.testing.assert_allclose(fitted, lab, atol=0.1)


def test_images_keep_their_shape():
    assert fit(np.full((2, 3, 4, 3), 50, np.float32)).shape == (2, 3, 4, 3)


@pytest.mark.usefixtures("no_shape_checks")
def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="last axis of 3"):
        in_gamut(np.zeros((4, 2), np.float32))


@pytest.mark.parametrize(("largest", "all_but", "error_of_these"), [(40, 0.0, 0.6), (120, 1e-4, 0.2)])
def test_the_border_agrees_with_bisection_in_double_precision(largest, all_but, error_of_these):
    """To a fraction of an 8-bit step. Some rays of strong colours leave the gamut twice: there both may be right."""
    rng = np.random.default_rng(0)
    lab = np.concatenate([rng.uniform(0, 100, (20_000, 1)), rng.uniform(-largest, largest, (20_000, 2))], axis=1)
    inside, outside = np.zeros(len(lab)), np.ones(len(lab))
    for _ in range(40):
        middle = (inside + outside) / 2
        linear = lab_to_linear_rgb(lab * np.stack([np.ones(len(lab)), middle, middle], axis=1), xp=np)
        # The border of the search: half the tolerance, which next to black is some chroma.
        fits = np.all((linear >= -TOLERANCE / 2) & (linear <= 1 + TOLERANCE / 2), axis=1)
        # Grey itself leaves the gamut by up to 1e-4 next to black and white.
        fits |= middle < 1e-3
        inside, outside = np.where(fits, middle, inside), np.where(fits, outside, middle)
    expected = lab * np.stack([np.ones(len(lab)), outside, outside], axis=1)
    error = np.abs(np.asarray(lab_to_rgb(fit(lab.astype(np.float32)))) - lab_to_rgb(expected, xp=np)) * 255
    assert np.median(outside[outside < 0.9999]) < 0.9, "many colours are outside"
    assert np.quantile(error, 1 - all_but) < error_of_these
    assert error.mean() < 0.02


@pytest.mark.parametrize(("planes", "levels"), [(srgb8, 0xFF), (srgb16, 0xFFFF)])
def test_integer_planes_are_the_fitted_colours_and_keep_their_lightness(planes, levels):
    """In 16 bits what the tolerance leaves outside is mixed with grey: clipping would cost dark colours lightness."""
    rng = np.random.default_rng(1)
    lab = np.concatenate([rng.uniform(0, 100, (4000, 1)), rng.uniform(-120, 120, (4000, 2))], axis=1)
    lab[:1000, 0] /= 20
    lab[1000:2000, 1:] /= 12  # most of these are inside
    channels = jax.jit(lambda lab: planes(ray_of_lab(lab[:, 0], lab[:, 1], lab[:, 2])))(lab.astype(np.float32))
    rgb = np.stack(channels, axis=-1)
    assert rgb.dtype.itemsize * 8 == levels.bit_length()
    expected = lab_to_rgb(np.asarray(fit(lab.astype(np.float32)), np.float64), xp=np)
    np.testing.assert_allclose(rgb / levels, expected, atol=0.501 / 255 if levels == 255 else 0.006)
    lightness = skimage.color.rgb2lab(rgb / levels)[:, 0]
    np.testing.assert_allclose(lightness, lab[:, 0], atol=0.3 if levels == 255 else 0.002)
