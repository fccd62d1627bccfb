"""Convolutions that double the resolution, as one 2x2 convolution of the small image.

The first is a 3x3 convolution of a nearest-neighbour upsampled image.

A 3x3 window on the upsampled image sees no more than 2x2 different pixels. Along one axis

    y[2p]     = k0 x[p - 1] + (k1 + k2) x[p],
    y[2p + 1] = (k0 + k1) x[p] + k2 x[p + 1],

so the window on x[p - 1], x[p] gives y[2p - 1] and y[2p], and a 2x2 window gives a "packed" pixel of four pixels of y,
with four times the channels: 16 products instead of 36. The packed image has one row and one column more than x; its
outermost pixels, half of which lie beyond the border of y, are cropped.

The second is the transposed 4x4 convolution of stride 2 and padding 1, which has the same windows:

    y[2p - 1] = k1 x[p - 1] + k3 x[p],
    y[2p]     = k0 x[p - 1] + k2 x[p].
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from semcolor_jax.ops import plain
from semcolor_jax.ops.winograd import entries, join, transform

_FOLDING = ((1, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 1))
"""The kernel's taps that fall on x[p - 1] and on x[p]: for y[2p - 1] the first two rows, for y[2p] the others."""


def apply(x: Float[Array, "B h w C"], kernel: Float[Array, "3 3 C K"]) -> Float[Array, "B 2*h 2*w K"]:
    """Returns the SAME convolution of the upsampled x."""
    return apply_packed(x, fold(kernel))


def apply_packed(x: Float[Array, "B h w C"], packed: Float[Array, "2 2 C N"]) -> Float[Array, "B 2*h 2*w N//4"]:
    """Returns the image, twice as large, whose packed pixels a 2x2 convolution of x computes."""
    return _unpack(plain.convolve(x, packed, padding=((1, 1), (1, 1))))


def input_gradient(upstream: Float[Array, "B H W K"], packed: Float[Array, "2 2 C N"]) -> Float[Array, "B H//2 W//2 C"]:
    """Returns the gradient of `apply_packed` with respect to x."""
    return plain.convolve(pack(upstream), jnp.swapaxes(packed[::-1, ::-1], 2, 3), padding="VALID")


def fold_transposed(kernel: Float[Array, "4 4 C K"]) -> Float[Array, "2 2 C 4*K"]:
    """Returns the packed kernel of the transposed convolution."""
    channels, features = kernel.shape[2:]
    blocks = kernel.reshape(2, 2, 2, 2, channels, features)[:, ::-1, :, ::-1]
    return blocks.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, channels, 4 * features)


def pack(y: Float[Array, "B H W K"]) -> Float[Array, "B H//2+1 W//2+1 4*K"]:
    """Returns the packed pixels, with zeros for what is beyond the border."""
    batch, height, width, channels = y.shape
    y = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = y.reshape(batch, height // 2 + 1, 2, width // 2 + 1, 2, channels)
    return y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2 + 1, width // 2 + 1, 4 * channels)


def unfold(gradient: Float[Array, "2 2 C N"]) -> Float[Array, "3 3 C N//4"]:
    """Returns the gradient with respect to the kernel, from that with respect to the packed one."""
    channels = gradient.shape[2]
    blocks = gradient.reshape(2, 2, channels, 2, 2, -1).transpose(3, 0, 4, 1, 2, 5).reshape(4, 4, channels, -1)
    return join(transform(tuple(zip(*_FOLDING, strict=True)), entries(blocks)))


def fold(kernel: Float[Array, "3 3 C K"]) -> Float[Array, "2 2 C 4*K"]:
    """Returns the packed kernel of the 3x3 convolution of the upsampled image."""
    channels, features = kernel.shape[2:]
    blocks = join(transform(_FOLDING, entries(kernel))).reshape(2, 2, 2, 2, channels, features)
    return blocks.transpose(1, 3, 4, 0, 2, 5).reshape(2, 2, channels, 4 * features)


def _unpack(packed: Float[Array, "B h w N"]) -> Float[Array, "B 2*h-2 2*w-2 N//4"]:
    batch, down, across, _ = packed.shape
    y = packed.reshape(batch, down, across, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(batch, 2 * down, 2 * across, -1)[:, 1:-1, 1:-1]
