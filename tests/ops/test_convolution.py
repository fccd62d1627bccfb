"""The kernel gradient as matrix products, against finite sums written out in numpy and against XLA's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.ops import convolution, plain


def slow_kernel_gradient(x, g, *, stride):
    """One product per pixel and tap, in float64; SAME padding as TensorFlow defines it."""
    batch, height, width, _ = x.shape
    low = [max((out - 1) * stride + 3 - side, 0) // 2 for side, out in zip((height, width), g.shape[1:3], strict=True)]
    result = np.zeros((3, 3, x.shape[-1], g.shape[-1]))
    for b, row, column, i, j in np.ndindex(batch, *g.shape[1:3], 3, 3):
        y, z = row * stride + i - low[0], column * stride + j - low[1]
        if 0 <= y < height and 0 <= z < width:
            result[i, j] += np.outer(x[b, y, z], g[b, row, column])
    return result


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [(1, 4), (3, 3), (5, 2)])
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (7, 5), (16, 16)])
def test_kernel_gradient_is_the_sum_over_pixels(stride, channels, size, monkeypatch):
    monkeypatch.setattr(convolution, "CHUNK_PIXELS", 24)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *size, channels[0])).astype(np.float32)
    out = [-(-side // stride) for side in size]
    g = rng.standard_normal((2, *out, channels[1])).astype(np.float32)
    result = convolution.kernel_gradient(jnp.asarray(x), jnp.asarray(g), stride=stride)
    np.testing.assert_allclose(result, slow_kernel_gradient(x, g, stride=stride), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("cpu_form")
@pytest.mark.parametrize(("stride", "channels"), [(1, (8, 4)), (1, (4, 8)), (1, (8, 8)), (2, (4, 4))])
def test_both_gradients_are_those_of_xla(stride, channels, monkeypatch):
    monkeypatch.setattr(convolution, "WINOGRAD_CHANNELS", 8)
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((2, 32, 48, channels[0])), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((3, 3, *channels)), jnp.float32)

    def loss(function, x, kernel):
        return jnp.sum(jnp.sin(function(x, kernel)))

    ours = jax.jit(
        jax.value_and_grad(lambda x, k: loss(lambda *a: convolution.convolve(*a, stride=stride), x, k), (0, 1))
    )
    xlas = jax.jit(jax.value_and_grad(lambda x, k: loss(lambda *a: plain.convolve(*a, stride=stride), x, k), (0, 1)))
    for a, b in zip(jax.tree.leaves(ours(x, kernel)), jax.tree.leaves(xlas(x, kernel)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.usefixtures("cpu_form")
@pytest.mark.parametrize(("stride", "channels"), [(1, (3, 2)), (1, (8, 8)), (2, (3, 2))])
def test_bfloat16_gradients_are_the_sums_over_pixels(stride, channels, monkeypatch):
    monkeypatch.setattr(convolution, "WINOGRAD_CHANNELS", 8)  # which bfloat16 does not use
    rng = np.random.default_rng(4)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.bfloat16)

    x, kernel = draw(2, 8, 6, channels[0]), draw(3, 3, *channels)
    upstream = draw(2, 8 // stride, 6 // stride, channels[1])
    gradients = jax.jit(lambda *a: jax.vjp(lambda *b: convolution.convolve(*b, stride=stride), *a)[1](upstream))
    of_x, of_kernel = (np.asarray(gradient, np.float64) for gradient in gradients(x, kernel))
    x, kernel, upstream = (np.asarray(array, np.float64) for array in (x, kernel, upstream))
    expected = slow_kernel_gradient(x, upstream, stride=stride)
    np.testing.assert_allclose(of_kernel, expected, atol=0.01 * np.abs(expected).max())
    # A convolution is linear: its products with x and with the kernel are both that of its output with `upstream`.
    np.testing.assert_allclose(np.sum(of_x * x), np.sum(expected * kernel), atol=0.02 * np.linalg.norm(of_x))


@pytest.mark.usefixtures("cpu_form")
@pytest.mark.parametrize(("size", "channels"), [((3, 2), (4, 3, 2)), ((8, 12), (8, 4, 4)), ((8, 12), (16, 8, 8))])
def test_joined_is_xlas_convolution_of_the_joined_array(size, channels, monkeypatch):
    monkeypatch.setattr(convolution, "WINOGRAD_CHANNELS", 8)
    monkeypatch.setattr(convolution, "WINOGRAD_CHANNELS_UPSAMPLED", 8)
    of_x, of_skip, features = channels
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, *size, of_x)).astype(np.float32)
    skip = rng.standard_normal((2, 2 * size[0], 2 * size[1], of_skip)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, of_x + of_skip, features)).astype(np.float32)

    def joined(x, skip, kernel):
        enlarged = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return plain.convolve(jnp.concatenate([enlarged, skip], axis=-1), kernel)

    upstream = rng.standard_normal((*skip.shape[:3], features)).astype(np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, *arguments):
        value, pull_back = jax.vjp(function, *arguments)
        return value, pull_back(upstream)

    ours, xlas = (value_and_gradients(function, x, skip, kernel) for function in (convolution.convolve_joined, joined))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(xlas), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


def slow_transposed(x, kernel):
    """Every pixel of x adds its multiple of the kernel to the 4x4 pixels around it, in float64."""
    batch, height, width, _ = x.shape
    result = np.zeros((batch, 2 * height + 2, 2 * width + 2, kernel.shape[-1]))
    for b, row, column in np.ndindex(batch, height, width):
        taps = np.einsum("c,ijck->ijk", x[b, row, column], kernel[::-1, ::-1])
        result[b, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += taps
    return result[:, 1:-1, 1:-1]


def slow_dilated(x, kernel, *, dilation=1):
    """A shifted copy of x for every tap, in float64."""
    _, height, width, _ = x.shape
    side = len(kernel)
    border = (side // 2 * dilation,) * 2
    padded = np.pad(x.astype(np.float64), ((0, 0), border, border, (0, 0)))
    starts = [(i, j, i * dilation, j * dilation) for i in range(side) for j in range(side)]
    return np.sum([padded[:, y : y + height, z : z + width] @ kernel[i, j] for i, j, y, z in starts], axis=0)


def slow_halving(x, kernel):
    """Every second pixel of the sum over taps."""
    return slow_dilated(x, kernel)[:, ::2, ::2]


def dilated(dilation):
    """The function and the same written out."""
    functions = convolution.convolve_dilated, slow_dilated
    return tuple(functools.partial(function, dilation=dilation) for function in functions)


@pytest.mark.parametrize("form", ["cpu_form", "xla_form"])
@pytest.mark.parametrize(("size", "channels"), [((1, 1), (3, 2)), ((5, 8), (2, 3)), ((8, 4), (8, 8))])
@pytest.mark.parametrize(
    ("functions", "side"),
    [
        ((convolution.convolve_transposed, slow_transposed), 4),
        ((convolution.convolve_halving, slow_halving), 3),
        (dilated(1), 3),
        (dilated(2), 3),
        (dilated(3), 3),
        ((convolution.convolve_by_product, slow_dilated), 1),
        ((convolution.convolve_by_product, slow_dilated), 7),
    ],
    ids=["transposed", "halving", "dilation 1", "dilation 2", "dilation 3", "product 1x1", "product 7x7"],
)
def test_the_other_convolutions_are_the_sums_over_taps(form, size, channels, functions, side, monkeypatch, request):
    request.getfixturevalue(form)
    monkeypatch.setattr(convolution, "WINOGRAD_CHANNELS", 8)
    function, slow = functions
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, *size, channels[0])).astype(np.float32)
    kernel = rng.standard_normal((side, side, *channels)).astype(np.float32)
    result, pull_back = jax.vjp(jax.jit(function), x, kernel)
    expected = slow(x, kernel)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    upstream = rng.standard_normal(expected.shape).astype(np.float32)
    of_x, of_kernel = pull_back(upstream)
    # Linear in both: a gradient's product with any change is that of `upstream` with the change of the output.
    towards_x, towards_kernel = rng.standard_normal(x.shape), rng.standard_normal(kernel.shape)
    tolerance = 1e-4 * np.linalg.norm(upstream)
    np.testing.assert_allclose(np.sum(of_x * towards_x), np.sum(upstream * slow(towards_x, kernel)), atol=tolerance)
    changed = np.sum(upstream * slow(x, towards_kernel))
    np.testing.assert_allclose(np.sum(of_kernel * towards_kernel), changed, atol=tolerance)


def test_bfloat16_sums_in_float32():
    x = jnp.full((1, 64, 64, 1), 1, jnp.bfloat16)
    g = jnp.full((1, 64, 64, 2), 1, jnp.bfloat16)
    result = convolution.kernel_gradient(x, g, stride=1)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result[1, 1], 4096)  # bfloat16 would stop at 256


@pytest.mark.usefixtures("xla_form")
def test_the_xla_form_differentiates_forward():
    rng = np.random.default_rng(3)
    x, skip = rng.standard_normal((1, 3, 3, 2)).astype(np.float32), rng.standard_normal((1, 6, 6, 2)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 4, 1)).astype(np.float32)
    forward, backward = (
        mode(lambda kernel: jnp.sum(convolution.convolve_joined(jnp.asarray(x), jnp.asarray(skip), kernel) ** 2))(
            kernel
        )
        for mode in (jax.jacfwd, jax.grad)
    )
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-4)
