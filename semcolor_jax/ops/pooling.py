"""Max-pooling of stride 2, in a form that a CPU runs three times faster than XLA's own."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semcolor_jax.backend import on_one_cpu


def max_pool(x: Float[Array, "B H W C"], *, window: int) -> Float[Array, "B h w C"]:
    """Returns the maximum of each window x window pixels, in steps of 2, without padding.

    In the "cpu" form the axes come one after the other, as maxima of shifted slices.
    """
    if not on_one_cpu():
        return nn.max_pool(x, (window, window), strides=(2, 2))
    for axis in (1, 2):
        count = (x.shape[axis] - window) // 2 + 1
        taps = [jax.lax.slice_in_dim(x, i, i + 2 * count - 1, stride=2, axis=axis) for i in range(window)]
        x = functools.reduce(jnp.maximum, taps)
    return x
