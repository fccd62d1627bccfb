"""Bias and ReLU in a form that stores half as much for the backward pass on a CPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semcolor_jax.backend import barrier, on_one_cpu


def add_bias_relu(x: Float[Array, "B H W C"], bias: Float[Array, " C"]) -> Float[Array, "B H W C"]:
    """Returns max(x + bias, 0).

    In the "cpu" form only this result is kept for the backward pass. `jax.nn.relu` keeps its argument, one more array
    per layer, and XLA's CPU compiler does not see that it is unneeded.
    """
    return _add_bias_relu(x, bias) if on_one_cpu() else jax.nn.relu(x + bias)


@jax.custom_vjp
def _add_bias_relu(x: Array, bias: Array) -> Array:
    return jnp.maximum(x + bias, 0)


def _forward(x: Array, bias: Array) -> tuple[Array, Array]:
    y = barrier(_add_bias_relu(x, bias))  # otherwise XLA recomputes it from x, and keeps x
    return y, y


def _backward(y: Array, upstream: Array) -> tuple[Array, Array]:
    of_x = jnp.where(y > 0, upstream, 0)
    of_bias = jnp.sum(of_x, axis=(0, 1, 2), dtype=jnp.float32).astype(of_x.dtype)
    return barrier((of_x, of_bias))  # both now, or of_bias would be computed only when it is used


_add_bias_relu.defvjp(_forward, _backward)
