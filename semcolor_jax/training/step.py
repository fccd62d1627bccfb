"""One training step: uint8 batch in, next state and scalars out, compiled as a single program."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from semcolor_jax import backend
from semcolor_jax.baselines.registry import find_method
from semcolor_jax.data.device_cache import CachedBatch
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.objective import Batch, Inputs, weights_of
from semcolor_jax.training.preparation import Prepare, only_lab
from semcolor_jax.training.sharding import whole
from semcolor_jax.training.state import PyTree, TrainState, average

TrainStep = Callable[[TrainState, Batch | CachedBatch], tuple[TrainState, dict[str, jax.Array]]]


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    loss_config: ConfigDict,
    rebalancing: Float[np.ndarray | Array, " bins"],
    seed: int,
    method: str = "semcolor",
    ema_decay: float = 0.0,
    prepare: Prepare = only_lab,
    shardings: TrainState | None = None,
) -> TrainStep:
    """Builds the jitted step.

    A batch with a loss or gradient that is not finite is skipped: `state.skips` counts it, `state.step` advances, and
    the rest stays as it was. (`optax.apply_if_finite` would let BatchNorm's statistics through.)

    The state is donated: the caller's old state must not be used again. Randomness inside the network is a function
    of (seed, step) alone, so a resumed run repeats the uninterrupted one. A batch sharded over a mesh gives the same
    numbers as on one device, because all means and statistics are over the global batch.

    Args:
      model: the network of the method.
      optimizer: its update takes the joint loss as `value`.
      loss_config: `config.loss`: the weights of the terms by name, and the losses' other fields.
      rebalancing: w of eq. 12.
      seed: the run's.
      method: `config.model.method`, which names the losses.
      ema_decay: of the averaged parameters, if the state has any.
      prepare: gathers and augments the batch; see `training.preparation`.
      shardings: of the state, as `sharding.state_split` gives them; None: left to the compiler.

    Returns:
      step(state, batch) -> (state, metrics); metrics are float32 scalars: "loss", each term's own, "grad_norm",
      "learning_rate", and "skipped" and "skipped_in_a_row", the counts after this batch.
    """
    key = jax.random.key(seed)
    constrained = jax.lax.with_sharding_constraint
    mesh = None if shardings is None else jax.tree.leaves(shardings)[0].mesh
    objective = find_method(method).objective

    def step(state: TrainState, batch: Batch | CachedBatch):
        arrays, lab = prepare(batch, state.step)
        inputs = Inputs(
            batch=arrays,
            lab=lab,
            loss_config=loss_config,
            rebalancing=jnp.asarray(rebalancing, jnp.float32),
            rngs={"dropout": jax.random.fold_in(key, state.step)},
        )

        def joint(params):
            params = params if mesh is None else whole(params, mesh)
            result = objective(model, {"params": params, "batch_stats": state.batch_stats}, inputs)
            return losses.joint_loss(result.terms, weights=weights_of(result.terms, loss_config)), result

        (loss, result), grads = jax.value_and_grad(joint, has_aux=True)(state.params)
        # Weights change only once all gradients exist: otherwise XLA copies them first, for gradients still to come.
        grads = backend.barrier(grads if shardings is None else constrained(grads, shardings.params))
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=loss)
        params = cast(PyTree, optax.apply_updates(state.params, updates))
        new_state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=result.batch_stats,
            opt_state=opt_state,
            ema=average(state.ema, params, step=state.step, decay=ema_decay),
        )
        new_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new_state, state)
        new_state = new_state.replace(step=state.step + 1, skips=state.skips.after(finite))
        if shardings is not None:
            new_state = constrained(new_state, shardings)
        metrics = {
            "loss": loss,
            **result.terms,
            "grad_norm": norm,
            "learning_rate": optax.tree.get(opt_state, "learning_rate"),
            "skipped": new_state.skips.total.astype(jnp.float32),
            "skipped_in_a_row": new_state.skips.in_a_row.astype(jnp.float32),
        }
        return new_state, metrics

    return jax.jit(step, donate_argnums=0, compiler_options=backend.compiler_options())
