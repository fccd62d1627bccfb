import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
from hypothesis import given, settings
from hypothesis import strategies as st

from semcolor_jax.color import lab_to_rgb, rgb_to_lab
from semcolor_jax.color.lab import inverse_f, inverse_f_slope, rgb_planes_to_ab

COLORS = np.random.default_rng(0).integers(0, 256, (100_000, 3), dtype=np.uint8)
CORNERS = np.array([(r, g, b) for r in (0, 1, 255) for g in (0, 1, 255) for b in (0, 1, 255)], dtype=np.uint8)


@pytest.mark.parametrize("xp", [jnp, np])
@pytest.mark.parametrize("colors", [COLORS, CORNERS], ids=["random", "corners"])
@pytest.mark.parametrize("floating", [False, True], ids=["uint8", "float"])
def test_rgb_to_lab_agrees_with_skimage(xp, colors, floating):
    rgb = colors.astype(np.float32) / 255 if floating else colors
    lab = rgb_to_lab(rgb, xp=xp)
    assert lab.dtype == np.float32
    np.testing.assert_allclose(lab, skimage.color.rgb2lab(colors / 255.0), atol=1e-3)


def test_a_and_b_from_planes_are_those_of_the_whole_colour():
    a, b = rgb_planes_to_ab(*(jnp.asarray(COLORS[:, channel]) for channel in range(3)))
    np.testing.assert_allclose(np.stack([a, b], axis=-1), skimage.color.rgb2lab(COLORS / 255.0)[:, 1:], atol=1e-3)


@pytest.mark.parametrize("xp", [jnp, np])
def test_lab_to_rgb_agrees_with_skimage(xp):
    lab = skimage.color.rgb2lab(COLORS / 255.0)
    np.testing.assert_allclose(lab_to_rgb(lab.astype(np.float32), xp=xp), COLORS / 255.0, atol=1e-4)


@pytest.mark.parametrize("xp", [jnp, np])
@pytest.mark.parametrize("colors", [COLORS, CORNERS], ids=["random", "corners"])
def test_the_round_trip_returns_the_same_uint8(xp, colors):
    back = np.asarray(lab_to_rgb(rgb_to_lab(colors, xp=xp), xp=xp))
    np.testing.assert_array_equal(np.round(back * 255).astype(np.uint8), colors)


def test_every_grey_level_returns_and_has_no_chroma():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    lab = np.asarray(rgb_to_lab(grey))
    assert np.max(np.abs(lab[:, 1:])) < 0.02
    assert np.all(np.diff(lab[:, 0]) > 0)
    np.testing.assert_array_equal(np.round(np.asarray(lab_to_rgb(lab)) * 255), grey)


def test_known_colors():
    # The well-known Lab values (D65, 2 degrees) of the sRGB primaries, white and black.
    rgb = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)], dtype=np.uint8)
    lab = [(53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86), (100, 0, 0), (0, 0, 0)]
    np.testing.assert_allclose(rgb_to_lab(rgb), lab, atol=0.02)


def test_float64_stays_float64_on_the_host():
    lab = rgb_to_lab(COLORS[:1000] / 255.0, xp=np)
    assert lab.dtype == np.float64
    np.testing.assert_allclose(lab, skimage.color.rgb2lab(COLORS[:1000] / 255.0), atol=1e-10)


def test_half_precision_is_computed_in_float32():
    assert rgb_to_lab(jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("value", [0.0, 1e-8, 0.04045, 1.0, -0.5, -1e6, 1.5, 1e6])
def test_gradients_of_rgb_to_lab_are_finite(value):
    jacobian = jax.jit(jax.jacobian(rgb_to_lab))(jnp.full(3, value))
    assert np.all(np.isfinite(jacobian))
    assert np.any(jacobian != 0)


@pytest.mark.parametrize("lab", [(0, 0, 0), (100, 0, 0), (50, 200, -200), (-50, 0, 0), (1e5, -1e5, 1e5), (50, 0, 0)])
def test_gradients_of_lab_to_rgb_are_finite(lab):
    assert np.all(np.isfinite(jax.jit(jax.jacobian(lab_to_rgb))(jnp.array(lab, jnp.float32))))


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(0.12, 0.98)))  # off the straight pieces
@settings(max_examples=30, deadline=None)
def test_gradient_agrees_with_finite_differences(rgb):
    step, direction = 1e-6, np.ones_like(rgb)
    difference = rgb_to_lab(rgb + step * direction, xp=np) - rgb_to_lab(rgb - step * direction, xp=np)
    _, tangent = jax.jvp(rgb_to_lab, (jnp.float32(rgb),), (jnp.float32(direction),))
    np.testing.assert_allclose(tangent, difference / (2 * step), rtol=2e-2, atol=2e-2)


@given(hnp.arrays(np.float32, (5, 3), elements=st.floats(-300, 300, width=32)))
@settings(max_examples=50, deadline=None)
def test_any_lab_gives_rgb_in_range(lab):
    rgb = np.asarray(lab_to_rgb(lab))
    assert np.all((rgb >= 0) & (rgb <= 1))


@given(hnp.arrays(np.float32, (7, 3), elements=st.floats(0, 1, width=32)))
@settings(max_examples=50, deadline=None)
def test_jax_and_numpy_agree(rgb):
    np.testing.assert_allclose(rgb_to_lab(rgb), rgb_to_lab(rgb, xp=np), atol=1e-3)


def test_leading_axes_are_free():
    image = COLORS[:24].reshape(2, 3, 4, 3)
    np.testing.assert_allclose(rgb_to_lab(image).reshape(-1, 3), rgb_to_lab(COLORS[:24]), atol=1e-5)
    assert rgb_to_lab(image[0, 0, 0]).shape == (3,)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("bad", [np.zeros((3, 4), np.uint8), np.zeros((4, 3), np.int32), np.float32(1)])
def test_wrong_input_is_refused(bad):
    with pytest.raises(ValueError, match="colours"):
        rgb_to_lab(bad)


@pytest.mark.usefixtures("no_shape_checks")
def test_lab_cannot_be_uint8():
    with pytest.raises(ValueError, match="floating"):
        lab_to_rgb(np.zeros((4, 3), np.uint8))


def test_the_slope_of_the_inverse_is_its_derivative_on_both_sides_of_the_bend():
    f = np.array([0.0, 0.14, 0.2, 0.21, 0.5, 1.0], np.float64)
    numeric = (inverse_f(f + 1e-6, xp=np) - inverse_f(f - 1e-6, xp=np)) / 2e-6
    np.testing.assert_allclose(inverse_f_slope(f, xp=np), numeric, rtol=1e-6)
