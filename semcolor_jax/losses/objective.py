"""The interface between the training step and a method: one batch's losses, given the network's variables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

Batch = Mapping[str, jax.Array]


class Inputs(NamedTuple):
    """What the losses need besides the network."""

    batch: Batch
    lab: Float[Array, "b h w 3"]  # of the batch's photos, CIE units
    loss_config: ConfigDict  # `config.loss`
    rebalancing: Float[Array, " bins"]  # w of eq. 12
    rngs: Mapping[str, jax.Array]  # "dropout", a function of (seed, step)
    train: bool = True  # False: running statistics, no dropout, as for the losses of the validation photos


class ModelLosses(NamedTuple):
    """The losses of one batch by name, not yet weighted, and the new batch statistics."""

    terms: dict[str, Float[Array, ""]]
    batch_stats: Any


Objective = Callable[[nn.Module, Mapping[str, Any], Inputs], ModelLosses]
"""(model, variables, inputs) -> losses; differentiated with respect to the variables' "params"."""


def weights_of(terms: Collection[str], loss_config: ConfigDict) -> dict[str, float]:
    """Returns the weight of each loss, a field of its name in `config.loss`.

    Raises:
      ValueError: the method has a loss that the config has no weight for.
    """
    weights = {}
    for name in terms:
        try:
            weights[name] = loss_config[name]
        except KeyError as error:
            message = f"the method has the loss {name!r}, but config.loss has no weight of that name."
            raise ValueError(message) from error
    return weights


def apply_model(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs, **arguments: Any) -> tuple[Any, Any]:
    """Runs the network on the batch's lightness; returns its output and the new batch statistics.

    With `inputs.train` off, the network uses the running statistics and leaves them as they are.
    """
    output, updated = model.apply(
        variables, inputs.lab[..., :1], train=inputs.train, mutable=["batch_stats"], rngs=dict(inputs.rngs), **arguments
    )
    return output, updated.get("batch_stats", {})
