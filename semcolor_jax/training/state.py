"""The training state: everything that changes from step to step, and so everything that a checkpoint holds."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

PyTree = Any


@flax.struct.dataclass
class TrainState:
    """A frozen pytree; `replace` gives the next one."""

    step: jax.Array  # int32 scalar: updates done
    params: PyTree
    batch_stats: PyTree  # running BatchNorm statistics; an empty dict where the model has none
    opt_state: optax.OptState

    @property
    def variables(self) -> dict[str, PyTree]:
        """The collections that `module.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_state(variables: dict[str, PyTree], optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first update, for freshly initialised variables."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
    )
