"""The smallest method, one colour for every pixel: a file like this, and a config, are all that a method takes."""

import flax.linen as nn
import jax.numpy as jnp

from semcolor_jax.baselines.registry import Method
from semcolor_jax.errors import UserError
from semcolor_jax.losses.objective import ModelLosses, apply_model
from semcolor_jax.models import Predictions


class MeanColor(nn.Module):
    scale: float

    @nn.compact
    def __call__(self, lightness, *, train):
        color = self.scale * self.param("color", nn.initializers.zeros, (2,))
        return Predictions(ab=jnp.broadcast_to(color, (*lightness.shape[:3], 2)))


def objective(model, variables, inputs):
    predictions, stats = apply_model(model, variables, inputs)
    return ModelLosses({"squared": jnp.mean(jnp.square(predictions.ab - inputs.lab[..., 1:]))}, stats)


def check(config):
    if config.model.scale <= 0:
        raise UserError(f"config.model.scale is {config.model.scale}, but must be above 0.")


METHOD = Method(
    build=lambda config: MeanColor(scale=config.model.scale),
    objective=objective,
    fields={"model": dict(scale=10.0), "loss": dict(squared=0.5), "inference": dict(branch="reg")},
    check=check,
)
