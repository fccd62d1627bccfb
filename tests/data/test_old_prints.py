import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from semcolor_jax.data.old_prints import OldPrint, age, blur, fade, gamma, jpeg_blocks


def _lightness(height=37, width=43):
    rng = np.random.default_rng(0)
    return np.float32(ndimage.gaussian_filter(rng.uniform(0, 100, (height, width)), 1.5) * 1.4 - 20).clip(0, 100)


def test_no_damage_changes_nothing():
    np.testing.assert_array_equal(age(jnp.asarray(_lightness()), jax.random.key(0), OldPrint()), _lightness())


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(OldPrint)])
def test_each_damage_stays_in_range_and_follows_its_key(field):
    damage = OldPrint(**{field: 1.0})
    first, again, other = (np.asarray(age(jnp.asarray(_lightness()), jax.random.key(i), damage)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.min() >= -1e-3
    assert first.max() <= 100 + 1e-3


@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_blur_is_scipys(sigma):
    expected = ndimage.gaussian_filter(_lightness(), sigma, mode="nearest", truncate=5)
    np.testing.assert_allclose(blur(jnp.asarray(_lightness()), sigma=jnp.array(sigma), largest=1.0), expected, atol=0.1)


def test_blur_of_no_width_changes_nothing():
    result = blur(jnp.asarray(_lightness()), sigma=jnp.array(0.0), largest=1.0)
    np.testing.assert_allclose(result, _lightness(), atol=1e-4)


def test_fading_squeezes_the_range():
    values = jnp.array([[0.0, 50, 100]])
    np.testing.assert_allclose(fade(values, lost=jnp.array(0.4), black=jnp.array(0.25)), [[10, 40, 70]], atol=1e-4)


def test_gamma_keeps_black_and_white():
    values = jnp.array([[0.0, 25, 100]])
    np.testing.assert_allclose(gamma(values, exponent=jnp.array(0.5)), [[0, 50, 100]], atol=1e-4)


@pytest.mark.parametrize("quality", [10, 30, 50])
def test_blocks_are_those_of_a_jpeg_file(quality):
    """Pillow rounds to whole grey levels and its transform is in integers; hence the tolerance."""
    levels = np.uint8(_lightness(40, 48) * 2.55)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file), float)
    result = np.asarray(jpeg_blocks(jnp.asarray(levels / 2.55, jnp.float32), quality=jnp.array(float(quality)))) * 2.55
    assert np.abs(result - expected).mean() < 0.6
    assert np.abs(result - levels).mean() > 2 * np.abs(result - expected).mean()


def test_blocks_take_any_size():
    assert jpeg_blocks(jnp.asarray(_lightness(13, 9)), quality=jnp.array(20.0)).shape == (13, 9)
