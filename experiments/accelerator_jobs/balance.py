"""Chooses loss weights by the gradients at the trunk: how strongly each loss pulls at what all branches share.

Eq. 16 leaves its weights open. The trunk is the encoder, which every branch reads. A loss with a hundred times
another's gradient there decides alone what the encoder learns; the proposed weights give every loss the gradient norm
of soft-encoding's (as GradNorm begins, Chen et al. 2018, but measured once and then fixed).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from semcolor_jax.losses.objective import Inputs
from semcolor_jax.losses.paper import semcolor
from semcolor_jax.training.preparation import make_preparation
from semcolor_jax.training.state import TrainState

TRUNK = "backbone"


def gradient_norms(
    model: Any, state: TrainState, batches: Iterable[Any], *, config: ConfigDict, rebalancing: np.ndarray
) -> dict[str, float]:
    """Returns each unweighted loss's gradient norm at the encoder, the median over batches.

    Args:
      model: the network.
      state: its variables are measured, not modified.
      batches: as the step takes them.
      config: of the training.
      rebalancing: w of eq. 12, (313,).
    """
    prepare = make_preparation(config)

    @jax.jit
    def norms(state: TrainState, batch: Any) -> dict[str, jax.Array]:
        arrays, lab = prepare(batch, state.step)
        inputs = Inputs(
            batch=arrays,
            lab=lab,
            loss_config=config.loss,
            rebalancing=jnp.asarray(rebalancing, jnp.float32),
            rngs={"dropout": jax.random.key(0)},
        )

        def terms(trunk: Any) -> dict[str, jax.Array]:
            params = {**state.params, TRUNK: trunk}
            return semcolor(model, {"params": params, "batch_stats": state.batch_stats}, inputs).terms

        values, pull_back = jax.vjp(terms, state.params[TRUNK])
        zeros = jax.tree.map(jnp.zeros_like, values)
        return {
            name: optax.tree.norm(pull_back({**zeros, name: jnp.ones_like(value)})[0]) for name, value in values.items()
        }

    rows = [jax.device_get(norms(state, batch)) for batch in batches]
    return {name: statistics.median(float(row[name]) for row in rows) for name in rows[0]}


def balanced_weights(norms: Mapping[str, float], *, reference: str = "soft") -> dict[str, float]:
    """Returns weights, to two digits, that give every loss the gradient norm of the reference at weight 1.

    A loss without any gradient, such as a branch without labelled photos, is left out.
    """
    return {name: float(f"{norms[reference] / norm:.2g}") for name, norm in norms.items() if norm > 0}
