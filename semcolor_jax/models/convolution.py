"""3x3 convolution whose kernel gradient runs as matrix products where XLA's own is slow: on a CPU.

XLA writes the gradient with respect to the kernel as a convolution whose window is the whole image. On a CPU that runs
at a tenth of the speed of the forward convolution. The same sum over pixels p,

    dK[i, j] = sum_p  x[stride p + (i, j)]^T  g[p],

is a matrix product of nine shifted copies of one factor with the other. Rows of the image are taken a few at a time, so
that the copies stay in the cache. Which factor is copied does not change the result; the narrower one costs less.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SIDE = 3
DIMENSIONS = ("NHWC", "HWIO", "NHWC")
CHUNK_PIXELS = 2048
"""Output pixels whose nine shifted copies are alive at once."""


def convolve(
    inputs: Float[Array, "B H W C"],
    kernel: Float[Array, "3 3 C K"],
    window_strides: Sequence[int],
    padding: str,
    **unused: Any,
) -> Float[Array, "B h w K"]:
    """Stands in for `lax.conv_general_dilated` as the `conv_general_dilated` of a `flax.linen.Conv`.

    On several devices, and on anything but a CPU, it is that function: the chunks below would have to be summed over
    the devices one by one, and GPU libraries have good kernel gradients.

    Args:
      inputs: any dtype, the kernel's.
      kernel: of an undilated, ungrouped convolution.
      window_strides: the same for height and width.
      padding: "SAME".
      **unused: Flax's names for what is at its default here.
    """
    if kernel.shape[:2] == (SIDE, SIDE) and jax.default_backend() == "cpu" and jax.device_count() == 1:
        return _convolve(inputs, kernel, window_strides[0])
    return _plain(inputs, kernel, window_strides[0])


def _plain(inputs: Array, kernel: Array, stride: int) -> Array:
    return jax.lax.conv_general_dilated(inputs, kernel, (stride, stride), "SAME", dimension_numbers=DIMENSIONS)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(inputs: Array, kernel: Array, stride: int) -> Array:
    return _plain(inputs, kernel, stride)


def _forward(inputs: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _plain(inputs, kernel, stride), (inputs, kernel)


def _backward(stride: int, residuals: tuple[Array, Array], upstream: Array) -> tuple[Array, Array]:
    inputs, kernel = residuals
    _, of_inputs = jax.vjp(lambda x: _plain(x, kernel, stride), inputs)
    return (*of_inputs(upstream), kernel_gradient(inputs, upstream, stride=stride).astype(kernel.dtype))


_convolve.defvjp(_forward, _backward)


def kernel_gradient(
    inputs: Float[Array, "B H W C"], upstream: Float[Array, "B h w K"], *, stride: int
) -> Float[Array, "3 3 C K"]:
    """Returns the gradient of a SAME 3x3 convolution with respect to its kernel, float32.

    Args:
      inputs: of the convolution.
      upstream: the gradient with respect to its output.
      stride: of both axes.
    """
    if stride == 1 and inputs.shape[-1] >= upstream.shape[-1]:
        # Copies of `upstream`, shifted the other way: the nine blocks come out in reverse order.
        blocks = _correlate(upstream, inputs, padding=((1, 1), (1, 1)), stride=1)
        return jnp.moveaxis(blocks[::-1, ::-1], -1, -2)
    padding = jax.lax.padtype_to_pads(inputs.shape[1:3], (SIDE, SIDE), (stride, stride), "SAME")
    return _correlate(inputs, upstream, padding=padding, stride=stride)


def _correlate(
    copied: Float[Array, "B H W M"], other: Float[Array, "B h w N"], *, padding: Sequence[tuple[int, int]], stride: int
) -> Float[Array, "3 3 M N"]:
    """Returns sum_p copied[stride p + (i, j)]^T other[p] for each of the nine shifts (i, j) of the padded array."""
    batch, height, width, channels = other.shape
    padded = jnp.pad(copied, ((0, 0), *padding, (0, 0)))
    rows = _rows_per_chunk(height, row_pixels=batch * width)
    span, across = stride * (rows - 1) + 1, stride * (width - 1) + 1

    def chunk(total, index):
        window = jax.lax.dynamic_slice_in_dim(padded, index * rows * stride, span + SIDE - 1, axis=1)
        pixels = jax.lax.dynamic_slice_in_dim(other, index * rows, rows, axis=1).reshape(-1, channels)
        copies = [window[:, i : i + span : stride, j : j + across : stride] for i in range(SIDE) for j in range(SIDE)]
        columns = jnp.concatenate(copies, axis=-1).reshape(pixels.shape[0], -1)
        # The narrower factor first: XLA transposes it before the product.
        return total + jnp.einsum("pn,pm->nm", pixels, columns, preferred_element_type=jnp.float32), None

    zeros = jnp.zeros((channels, SIDE * SIDE * copied.shape[-1]), jnp.float32)
    total, _ = jax.lax.scan(chunk, zeros, jnp.arange(height // rows))
    return jnp.moveaxis(total.reshape(channels, SIDE, SIDE, -1), 0, -1)


def _rows_per_chunk(height: int, *, row_pixels: int) -> int:
    """Returns the largest divisor of the height that keeps a chunk within CHUNK_PIXELS, or else 1."""
    return max(
        (rows for rows in range(1, height + 1) if height % rows == 0 and rows * row_pixels <= CHUNK_PIXELS), default=1
    )
