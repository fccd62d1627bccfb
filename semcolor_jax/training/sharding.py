"""Data parallelism over a mesh: the batch is split, the state is on every device."""

from __future__ import annotations

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from semcolor_jax.errors import UserError


def data_mesh() -> Mesh:
    """Returns the one-axis mesh over all devices of all hosts."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of the train state: a full copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its leading axis over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuses a global batch that the devices cannot share evenly.

    Raises:
      UserError: the batch size is no multiple of the number of devices.
    """
    if batch_size % mesh.size:
        raise UserError(
            f"config.data.batch_size is {batch_size}, but must be a multiple of the {mesh.size} devices present."
        )
