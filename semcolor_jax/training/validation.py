"""Computes the validation losses, which the plateau schedule watches and which can choose the best checkpoint."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from semcolor_jax import backend
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Batch, Sample
from semcolor_jax.evaluation.evaluate import center_square
from semcolor_jax.losses.objective import Inputs, Objective, weights_of
from semcolor_jax.losses.terms import joint_loss

LossStep = Callable[[Mapping[str, Any], Batch], dict[str, jax.Array]]
"""(variables, batch) -> the joint loss as "loss", and each term's own."""


def make_loss_step(
    model: nn.Module,
    objective: Objective,
    *,
    loss_config: ConfigDict,
    rebalancing: Float[np.ndarray | Array, " bins"],
    seed: int,
) -> LossStep:
    """Builds the jitted losses of a batch with fixed weights: running statistics, no dropout, no update.

    Random draws that remain, such as the places of Larsson et al., are the same for every batch.

    Args:
      model: the network of the method.
      objective: the method's losses.
      loss_config: `config.loss`.
      rebalancing: w of eq. 12.
      seed: the run's.
    """

    def losses(variables: Mapping[str, Any], batch: Batch) -> dict[str, jax.Array]:
        inputs = Inputs(
            batch=batch,
            lab=rgb_to_lab(batch["image"]),
            loss_config=loss_config,
            rebalancing=jnp.asarray(rebalancing, jnp.float32),
            rngs={"dropout": jax.random.key(seed)},
            train=False,
        )
        terms = objective(model, variables, inputs).terms
        return {"loss": joint_loss(terms, weights=weights_of(terms, loss_config)), **terms}

    return jax.jit(losses, compiler_options=backend.compiler_options())


def validation_losses(
    loss_step: LossStep, variables: Mapping[str, Any], samples: Iterable[Sample], *, batch_size: int, size: int
) -> dict[str, float]:
    """Returns the means of `loss_step` over the samples; a batch counts by its photos.

    Args:
      loss_step: of `make_loss_step`.
      variables: "params" and "batch_stats".
      samples: read once, a batch at a time; the rest at the end is a smaller batch.
      batch_size: photos per batch; the dice loss is computed per batch.
      size: pixels a side; each sample's short side is resized to it and its central square is taken.
    """
    sums: dict[str, float] = collections.defaultdict(float)
    count = 0
    for batch in _batches(samples, batch_size=batch_size, size=size):
        photos = len(batch["image"])
        for name, value in jax.device_get(loss_step(variables, batch)).items():
            sums[name] += photos * float(value)
        count += photos
    return {name: total / count for name, total in sums.items()}


def _batches(samples: Iterable[Sample], *, batch_size: int, size: int) -> Iterator[Batch]:
    iterator = iter(samples)
    while chunk := list(itertools.islice(iterator, batch_size)):
        squares = [center_square(sample, size=size) for sample in chunk]
        yield {
            key: np.stack([getattr(square, key) for square in squares])
            for key in ("image", "labels", "scene_index", "scene_prob")
        }
