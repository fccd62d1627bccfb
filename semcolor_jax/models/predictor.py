"""Runs a trained network on lightness, compiled for inference."""

from __future__ import annotations

import functools
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semcolor_jax.models.semcolor import Predictions


class Predictor:
    """Predicts with fixed weights: `predictor(lightness)`.

    Each network and input shape is compiled once, for all predictors of equal networks, so making a new predictor for
    new weights costs nothing.
    """

    def __init__(self, model: nn.Module, variables: dict[str, Any]):
        self.model = model
        self.variables = jax.device_put(variables)

    def __call__(self, lightness: Float[np.ndarray, "B H W 1"] | Float[Array, "B H W 1"]) -> Predictions:
        """Predicts from L, 0..100, of any size; arrays stay on the device."""
        return _predict(self.model, self.variables, jnp.asarray(lightness, jnp.float32))


@functools.partial(jax.jit, static_argnums=0)
def _predict(model: nn.Module, variables: dict[str, Any], lightness: jax.Array) -> Predictions:
    return cast(Predictions, model.apply(variables, lightness, train=False))
