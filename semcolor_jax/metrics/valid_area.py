"""Pads images at the right and bottom to arrays of few shapes, and masks network layers to the image.

A compiled program has one shape, so images are padded at their right and lower edges. Zeroing everything beyond the
true edge before every layer gives the padding that a convolution would assume there anyway, and so the result for the
image alone.
"""

from __future__ import annotations

from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, Num

Sizes: TypeAlias = Int32[Array, "B 2"]
"""True height and width of each image."""


def bucket(height: int, width: int) -> tuple[int, int]:
    """Returns the shape of the arrays for an image: sides rounded up to 64 pixels, above 512 to 256."""
    rounded = (-(-side // step) * step for side in (height, width) for step in (64 if side <= 512 else 256,))
    return next(rounded), next(rounded)


def inside(sizes: Sizes, *, height: int, width: int) -> Bool[Array, "B height width 1"]:
    """Returns a mask of the images in an array of this height and width."""
    rows = jnp.arange(height)[None, :, None, None] < sizes[:, 0, None, None, None]
    return rows & (jnp.arange(width)[None, None, :, None] < sizes[:, 1, None, None, None])


def keep_inside(x: Num[Array, "B h w c"], sizes: Sizes) -> Num[Array, "B h w c"]:
    """Returns the array with zeros outside the images."""
    return jnp.where(inside(sizes, height=x.shape[1], width=x.shape[2]), x, jnp.zeros((), x.dtype))


def strided(sizes: Sizes, *, window: int, stride: int = 1, padding: int = 0) -> Sizes:
    """Returns the sizes after a convolution or pooling with windows of this side."""
    return (sizes + 2 * padding - window) // stride + 1


def spatial_mean(x: Float[Array, "B h w c"], sizes: Sizes) -> Float[Array, "B c"]:
    """Returns the mean over each image's own area."""
    return jnp.sum(keep_inside(x, sizes), (1, 2)) / jnp.prod(sizes, axis=1, keepdims=True).astype(x.dtype)
