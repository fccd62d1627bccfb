"""The training state: everything that changes from step to step, and that a checkpoint must hold."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

PyTree = Any


@flax.struct.dataclass
class Skips:
    """Batches that changed nothing, because a loss or gradient was not finite: int32 scalars."""

    total: jax.Array = flax.struct.field(default_factory=lambda: jnp.zeros((), jnp.int32))
    in_a_row: jax.Array = flax.struct.field(default_factory=lambda: jnp.zeros((), jnp.int32))

    def after(self, finite: jax.Array) -> Skips:
        """Returns the counts after one more batch, which was finite or is skipped."""
        skipped = jnp.logical_not(finite).astype(jnp.int32)
        return Skips(total=self.total + skipped, in_a_row=(self.in_a_row + 1) * skipped)


@flax.struct.dataclass
class TrainState:
    """A frozen pytree; `replace` gives the next one."""

    step: jax.Array  # int32 scalar: batches done
    params: PyTree
    batch_stats: PyTree  # running BatchNorm statistics; an empty dict where the model has none
    opt_state: optax.OptState
    ema: PyTree = flax.struct.field(default_factory=dict)  # running average of params; an empty dict where it is off
    skips: Skips = flax.struct.field(default_factory=Skips)

    @property
    def variables(self) -> dict[str, PyTree]:
        """The collections that `module.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def averaged_variables(self) -> dict[str, PyTree]:
        """The collections to evaluate with: the averaged parameters where there are any."""
        return {"params": self.ema or self.params, "batch_stats": self.batch_stats}


def create_state(
    variables: dict[str, PyTree], optimizer: optax.GradientTransformation, *, averaged: bool = False
) -> TrainState:
    """Returns the state before the first update, for freshly initialised variables.

    Args:
      variables: "params" and "batch_stats".
      optimizer: its state is initialised.
      averaged: whether to keep a running average of the parameters, see `average`.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
        # A copy: the step donates the whole state, and a buffer can be donated only once.
        ema=jax.tree.map(jnp.array, variables["params"]) if averaged else {},
    )


def average(ema: PyTree, params: PyTree, *, step: jax.Array, decay: float) -> PyTree:
    """Returns the next exponential moving average of the parameters; an empty dict stays one.

    The decay is at most (1 + step) / (10 + step), so that the average soon forgets the random start.
    """
    if not ema:
        return ema
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old + share * (new - old), ema, params)
