"""Convolutions with fewer products, against windows written out in numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.ops import minimal_filtering
from semcolor_jax.ops.minimal_filtering import ENLARGED, SAME


def windows(x):
    """Returns every pixel's 3x3 neighbourhood, zeros beyond the border, (B, H, W, C, 3, 3)."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))


def convolution(x, kernel):
    return np.einsum("bhwcij,ijck->bhwk", windows(x), kernel)


def enlarged(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(params=[7, 1000], ids=lambda tiles: f"{tiles} tiles at once")
def chunk(request, monkeypatch):
    monkeypatch.setattr(minimal_filtering, "CHUNK_TILES", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("size", [(2, 2), (10, 6)])
class TestSame:
    def test_is_the_convolution(self, size):
        x, kernel = random(2, *size, 5), random(3, 3, 5, 4, seed=1)
        assert_close(jax.jit(lambda x, k: minimal_filtering.apply(SAME, x, k))(x, kernel), convolution(x, kernel))

    def test_input_gradient_is_the_convolution_with_the_kernel_turned_around(self, size):
        upstream, kernel = random(2, *size, 4), random(3, 3, 5, 4, seed=1)
        result = jax.jit(lambda g, k: minimal_filtering.input_gradient(SAME, g, k))(upstream, kernel)
        assert_close(result, convolution(upstream, kernel[::-1, ::-1].swapaxes(2, 3)))

    def test_kernel_gradient_is_the_sum_over_pixels(self, size):
        x, upstream = random(2, *size, 5), random(2, *size, 4, seed=1)
        result = jax.jit(lambda x, g: minimal_filtering.kernel_gradient(SAME, x, g))(x, upstream)
        assert_close(result, np.einsum("bhwcij,bhwk->ijck", windows(x), upstream))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("size", [(1, 1), (6, 5)])
class TestEnlarged:
    def test_is_the_convolution_of_the_enlarged_image(self, size):
        x, kernel = random(2, *size, 5), random(3, 3, 5, 4, seed=1)
        result = jax.jit(lambda x, k: minimal_filtering.apply(ENLARGED, x, k))(x, kernel)
        assert_close(result, convolution(enlarged(x), kernel))

    def test_input_gradient_is_its_transpose(self, size):
        upstream, kernel = random(2, 2 * size[0], 2 * size[1], 4), random(3, 3, 5, 4, seed=1)
        result = jax.jit(lambda g, k: minimal_filtering.input_gradient(ENLARGED, g, k))(upstream, kernel)
        # The transpose of a convolution is that with the kernel turned around, that of the enlargement a sum.
        of_enlarged = convolution(upstream, kernel[::-1, ::-1].swapaxes(2, 3))
        assert_close(result, of_enlarged.reshape(2, size[0], 2, size[1], 2, 5).sum(axis=(2, 4)))

    def test_kernel_gradient_is_the_sum_over_pixels(self, size):
        x, upstream = random(2, *size, 5), random(2, 2 * size[0], 2 * size[1], 4, seed=1)
        result = jax.jit(lambda x, g: minimal_filtering.kernel_gradient(ENLARGED, x, g))(x, upstream)
        assert_close(result, np.einsum("bhwcij,bhwk->ijck", windows(enlarged(x)), upstream))


def test_kernel_gradient_of_bfloat16_is_float32():
    x = jnp.ones((1, 4, 4, 2), jnp.bfloat16)
    assert minimal_filtering.apply(SAME, x, jnp.ones((3, 3, 2, 2), jnp.bfloat16)).dtype == jnp.bfloat16
    assert minimal_filtering.kernel_gradient(SAME, x, x).dtype == jnp.float32
