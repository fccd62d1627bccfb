"""The two-stage learning rate of a run whose length may change while it runs: `schedule.kind = "horizon"`.

The paper's scheme (section V.B) in fractions of the run instead of epochs: after a linear warm-up, stage 1 holds its
rate; stage 2 cycles between its two rates and ends at the lower one. The optimizer state holds the length, so a run
with a time budget instead of a number of updates can correct it without recompiling.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


class HorizonState(NamedTuple):
    """State of `horizon_learning_rate`."""

    updates: jax.Array  # int32: done so far
    horizon: jax.Array  # int32: of the whole run, as far as is known
    learning_rate: jax.Array  # of the last update


def rate_at(updates: jax.typing.ArrayLike, horizon: jax.typing.ArrayLike, *, schedule: ConfigDict) -> jax.Array:
    """Returns the learning rate of the next update after `updates` of `horizon` updates.

    The last update, and any after it, uses `schedule.cycle_low`.

    Args:
      updates: done so far.
      horizon: updates of the whole run.
      schedule: `config.schedule`; its epochs and plateaus are ignored.
    """
    done, last = jnp.asarray(updates, jnp.float32), jnp.maximum(jnp.asarray(horizon, jnp.float32) - 1, 1)
    share = jnp.minimum(done / last, 1)
    within = (share - schedule.horizon_stage1) / (1 - schedule.horizon_stage1)  # of stage 2
    phase = jnp.mod(within * schedule.horizon_cycles, 1)
    cyclic = schedule.cycle_low + (schedule.cycle_high - schedule.cycle_low) * jnp.abs(2 * phase - 1)
    rate = jnp.where(within < 0, schedule.stage1_rate, cyclic)
    return rate * jnp.minimum((done + 1) / max(schedule.horizon_warmup, 1), 1)


def horizon_learning_rate(schedule: ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Scales updates by minus `rate_at`; the horizon is `schedule.steps_total` until `with_horizon` says otherwise."""

    def init(params: optax.Params) -> HorizonState:
        del params
        return HorizonState(
            updates=jnp.zeros((), jnp.int32),
            horizon=jnp.asarray(schedule.steps_total, jnp.int32),
            learning_rate=jnp.zeros((), jnp.float32),
        )

    def update(updates: Any, state: HorizonState, params: Any = None, **extra: Any):
        del params, extra
        rate = rate_at(state.updates, state.horizon, schedule=schedule).astype(jnp.float32)
        new_state = HorizonState(state.updates + 1, state.horizon, rate)
        return jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates), new_state

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def with_horizon(opt_state: optax.OptState, steps: int) -> optax.OptState:
    """Returns the optimizer state with a new total number of updates."""

    def change(node: Any) -> Any:
        if not isinstance(node, HorizonState):
            return node
        return node._replace(horizon=jax.device_put(jnp.asarray(steps, jnp.int32), node.horizon.sharding))

    return jax.tree.map(change, opt_state, is_leaf=lambda node: isinstance(node, HorizonState))
