"""What padding may and may not change."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semcolor_jax.models.encoders import Vgg16Encoder
from semcolor_jax.models.layers import mean_over_image, pad_to_stride
from semcolor_jax.ops.convolution import upsample

sides = st.integers(1, 40)


@given(height=sides, width=sides)
@settings(deadline=None, max_examples=25)
def test_padding_mirrors_at_the_lower_right_up_to_multiples_of_16(height, width):
    x = np.random.default_rng(0).normal(size=(1, height, width, 1)).astype(np.float32)
    padded = np.asarray(pad_to_stride(jnp.asarray(x)))
    target = [16 * -(-side // 16) for side in (height, width)]
    assert padded.shape == (1, *target, 1)

    def source(i, side):  # a mirror walk: 0 .. n-1, n-1 .. 0, 0 ..
        i %= 2 * side
        return i if i < side else 2 * side - 1 - i

    rows = [source(i, height) for i in range(target[0])]
    columns = [source(i, width) for i in range(target[1])]
    np.testing.assert_array_equal(padded, x[:, rows][:, :, columns])


def test_multiples_of_16_are_not_padded():
    x = jnp.ones((1, 32, 16, 3))
    assert pad_to_stride(x) is x


@given(height=sides, width=sides)
@settings(deadline=None, max_examples=25)
def test_pooling_weighs_every_pixel_of_the_image_equally(height, width):
    """Reference: spread each cell over its 16x16 pixels, crop to the image, take the plain mean."""
    cells = (-(-height // 16), -(-width // 16))
    x = np.random.default_rng(0).normal(size=(2, *cells, 3)).astype(np.float32)
    pixels = x.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    pooled = mean_over_image(jnp.asarray(x), height=height, width=width)
    np.testing.assert_allclose(pooled, pixels.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_upsampling_repeats_rows_and_columns():
    x = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(upsample(jnp.asarray(x)), x.repeat(2, axis=1).repeat(2, axis=2))


def test_an_odd_image_is_the_crop_of_its_mirrored_self(net, variables):
    x = np.random.default_rng(0).uniform(0, 100, (1, 31, 37, 1)).astype(np.float32)
    mirrored = np.pad(x, [(0, 0), (0, 1), (0, 11), (0, 0)], mode="symmetric")
    odd, even = (net.apply(variables, jnp.asarray(image), train=False) for image in (x, mirrored))
    for name in ("ab", "color_logits", "seg_logits"):
        np.testing.assert_allclose(getattr(odd, name), getattr(even, name)[:, :31, :37], rtol=1e-5, atol=1e-5)
    assert not np.allclose(odd.scene_logits, even.scene_logits, rtol=1e-5, atol=1e-6)


def test_pooling_leaves_a_flat_map_as_it_is():
    flat = jnp.full((1, 3, 3, 5), 7.0)
    np.testing.assert_allclose(mean_over_image(flat, height=33, width=47), np.full((1, 5), 7.0), rtol=1e-6)


def test_a_shift_by_16_pixels_shifts_the_interior(net, variables):
    """Every layer commutes with shifts by 16; only what sees the zero padding at the border may differ.

    A pixel sees 62 pixels each way by the encoder's windows (two of 3x3 at strides 1, 2, 4, 8, 16), 45 by the
    decoder's (three at 8, 4, 2, 1) and up to 15 by up-sampling: less than 128.
    """
    scene = np.random.default_rng(0).uniform(0, 100, (1, 320, 320, 1)).astype(np.float32)
    features = jax.jit(lambda x: net.apply(variables, x, train=False, method=net.features).map)
    assert_shifted(features(scene[:, :-16, :-16]), features(scene[:, 16:, 16:]), shift=16, reach=128)


def test_a_shift_by_16_pixels_shifts_the_interior_of_relu4_3(vgg16_variables):
    """The same for the deepest skip of VGG16, in cells of 8 pixels: it sees 49 of them, 7 by pooling."""
    scene = np.random.default_rng(0).uniform(0, 100, (1, 176, 176, 1)).astype(np.float32)
    params = {"params": vgg16_variables["params"]["backbone"]}
    encode: Any = Vgg16Encoder().apply
    relu4_3 = jax.jit(lambda x: encode(params, x, train=False).skips[3])
    assert_shifted(relu4_3(scene[:, :-16, :-16]), relu4_3(scene[:, 16:, 16:]), shift=2, reach=7)


def assert_shifted(here, there, *, shift, reach):
    side = here.shape[1]
    inner, moved = slice(reach + shift, side - reach), slice(reach, side - reach - shift)
    scale = float(jnp.abs(here).max())
    np.testing.assert_allclose(here[:, inner, inner], there[:, moved, moved], atol=1e-5 * scale)
    border = jnp.abs(here[:, shift:, shift:] - there[:, :-shift, :-shift])
    assert border.max() > 1e-3 * scale
