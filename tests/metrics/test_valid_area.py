"""Padding at the right and bottom: shapes of arrays, and what of them is image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.metrics import valid_area

SIZES = jnp.array([[5, 7], [9, 4]], jnp.int32)


@pytest.mark.parametrize(
    ("side", "expected"), [(1, 64), (64, 64), (65, 128), (448, 448), (449, 512), (512, 512), (513, 768), (769, 1024)]
)
def test_sides_are_rounded_up_to_64_and_above_512_to_256(side, expected):
    assert valid_area.bucket(side, 64) == (expected, 64)
    assert valid_area.bucket(64, side) == (64, expected)


def test_the_mean_and_the_mask_are_over_the_image_alone():
    x = np.random.default_rng(0).normal(size=(2, 10, 8, 3)).astype(np.float32)
    inside = np.asarray(valid_area.inside(SIZES, height=10, width=8))[..., 0]
    assert inside.sum(axis=(1, 2)).tolist() == [35, 36]
    assert inside[0, :5, :7].all()
    assert inside[1, :9, :4].all()
    kept = np.asarray(valid_area.keep_inside(jnp.asarray(x), SIZES))
    np.testing.assert_array_equal(kept, np.where(inside[..., None], x, 0))
    expected = [x[0, :5, :7].mean(axis=(0, 1)), x[1, :9, :4].mean(axis=(0, 1))]
    np.testing.assert_allclose(valid_area.spatial_mean(jnp.asarray(x), SIZES), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "window", [{"window": 3}, {"window": 3, "stride": 2}, {"window": 11, "stride": 4, "padding": 4}]
)
def test_sizes_after_a_layer_are_those_of_a_convolution(window):
    sizes = valid_area.strided(SIZES + 10, **window)
    padding = [(window.get("padding", 0),) * 2] * 2
    for before, after in zip(SIZES + 10, sizes, strict=True):
        image = jnp.zeros((1, 1, *map(int, before)))
        kernel = jnp.zeros((1, 1, window["window"], window["window"]))
        strides = (window.get("stride", 1),) * 2
        done = jax.eval_shape(lambda x, k, s=strides: jax.lax.conv_general_dilated(x, k, s, padding), image, kernel)
        assert done.shape[2:] == tuple(map(int, after))
