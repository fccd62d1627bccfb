"""Convolutions with fewer products, against windows written out in numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from semcolor_jax.ops import winograd
from semcolor_jax.ops.winograd import SAME, UPSAMPLED


def windows(x):
    """Returns every pixel's 3x3 neighbourhood, zeros beyond the border, (B, H, W, C, 3, 3)."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))


def convolution(x, kernel):
    return np.einsum("bhwcij,ijck->bhwk", windows(x), kernel)


def upsampled(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(params=[7, 1000], ids=lambda tiles: f"{tiles} tiles at once")
def chunk(request, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK_TILES", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("size", [(2, 2), (10, 6)])
class TestSame:
    def test_is_the_convolution(self, size):
        x, kernel = random(2, *size, 5), random(3, 3, 5, 4, seed=1)
        assert_close(jax.jit(lambda x, k: winograd.apply(SAME, x, k))(x, kernel), convolution(x, kernel))

    def test_input_gradient_is_the_convolution_with_the_kernel_turned_around(self, size):
        upstream, kernel = random(2, *size, 4), random(3, 3, 5, 4, seed=1)
        result = jax.jit(lambda g, k: winograd.input_gradient(SAME, g, k))(upstream, kernel)
        assert_close(result, convolution(upstream, kernel[::-1, ::-1].swapaxes(2, 3)))

    def test_kernel_gradient_is_the_sum_over_pixels(self, size):
        x, upstream = random(2, *size, 5), random(2, *size, 4, seed=1)
        result = jax.jit(lambda x, g: winograd.kernel_gradient(SAME, x, g))(x, upstream)
        assert_close(result, np.einsum("bhwcij,bhwk->ijck", windows(x), upstream))


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("size", [(1, 1), (6, 5)])
class TestUpsampled:
    def test_is_the_convolution_of_the_upsampled_image(self, size):
        x, kernel = random(2, *size, 5), random(3, 3, 5, 4, seed=1)
        result = jax.jit(lambda x, k: winograd.apply(UPSAMPLED, x, k))(x, kernel)
        assert_close(result, convolution(upsampled(x), kernel))

    def test_input_gradient_is_its_transpose(self, size):
        upstream, kernel = random(2, 2 * size[0], 2 * size[1], 4), random(3, 3, 5, 4, seed=1)
        result = jax.jit(lambda g, k: winograd.input_gradient(UPSAMPLED, g, k))(upstream, kernel)
        # The transpose of a convolution is that with the kernel turned around, that of the enlargement a sum.
        of_upsampled = convolution(upstream, kernel[::-1, ::-1].swapaxes(2, 3))
        assert_close(result, of_upsampled.reshape(2, size[0], 2, size[1], 2, 5).sum(axis=(2, 4)))

    def test_kernel_gradient_is_the_sum_over_pixels(self, size):
        x, upstream = random(2, *size, 5), random(2, 2 * size[0], 2 * size[1], 4, seed=1)
        result = jax.jit(lambda x, g: winograd.kernel_gradient(UPSAMPLED, x, g))(x, upstream)
        assert_close(result, np.einsum("bhwcij,bhwk->ijck", windows(upsampled(x)), upstream))


def test_kernel_gradient_of_bfloat16_is_float32():
    x = jnp.ones((1, 4, 4, 2), jnp.bfloat16)
    assert winograd.apply(SAME, x, jnp.ones((3, 3, 2, 2), jnp.bfloat16)).dtype == jnp.bfloat16
    assert winograd.kernel_gradient(SAME, x, x).dtype == jnp.float32


@pytest.mark.parametrize("taps", [3, 5])
def test_the_matrices_make_a_correlation(taps):
    rng = np.random.default_rng(0)
    tile, kernel = rng.normal(size=winograd.TILE + taps - 1), rng.normal(size=taps)
    inputs, kernels, outputs = map(np.array, winograd.large_tiles(taps)[:3])
    result = outputs @ ((kernels @ kernel) * (inputs @ tile))
    np.testing.assert_allclose(result, np.correlate(tile, kernel, "valid"), atol=1e-12)


@pytest.mark.parametrize(("taps", "padding"), [(3, 1), (3, 0), (5, 2)])
@pytest.mark.parametrize("size", [(15, 15), (9, 22), (5, 6)])
def test_equals_scipy(taps, padding, size):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, *size, 16)).astype(np.float32)
    kernel = rng.normal(size=(taps, taps, 16, 3)).astype(np.float32)
    around = ((padding, padding), (padding, padding), (0, 0))
    padded = [np.pad(np.float64(image), around) for image in x]
    kernels = np.moveaxis(kernel.astype(np.float64), -1, 0)
    expected = [np.concatenate([correlate(image, k, "valid") for k in kernels], axis=-1) for image in padded]
    computed = winograd.convolve_transformed(
        jnp.asarray(x), winograd.transform_kernel(jnp.asarray(kernel)), padding=padding
    )
    np.testing.assert_allclose(computed, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.usefixtures("cpu_form")
def test_large_tiles_are_left_where_they_do_not_pay():
    assert winograd.pays((32, 15, 15, 192), 3, padding=1)
    assert not winograd.pays((32, 15, 15, 3), 3, padding=1)
    assert not winograd.pays((32, 63, 63, 64), 11, padding=2)
    assert not winograd.pays((2, 512, 512, 64), 3, padding=1)


def test_only_the_cpu_form_prepares_kernels(each_form):
    kernel = jnp.ones((3, 3, 16, 4))
    assert (winograd.prepare(kernel) is not None) == winograd.pays((32, 15, 15, 192), 3, padding=1)
    assert (winograd.prepare(kernel) is not None) == (each_form == "cpu")
    assert winograd.prepare(jnp.ones((11, 11, 3, 4))) is None
