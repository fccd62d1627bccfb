"""Spreads training over the devices of all hosts: the batch is split, the state copied, or split as well (FSDP).

The axis "data" counts groups of devices, "fsdp" the devices of a group, which share one copy of the state. XLA inserts
the collectives; every mean and every BatchNorm statistic of the step is over the global batch whatever the mesh.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from semcolor_jax.errors import UserError

DATA, FSDP = "data", "fsdp"

Tree = TypeVar("Tree")


def device_mesh(fsdp: int = 1) -> Mesh:
    """Returns the mesh over all devices of all hosts; a host's devices are adjacent, so it holds consecutive rows.

    Args:
      fsdp: `config.parallel.fsdp`: how many devices share one copy of the state; 0 for all.

    Raises:
      UserError: the devices cannot be divided into such groups.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    group = fsdp or len(devices)
    if len(devices) % group:
        raise UserError(
            f"config.parallel.fsdp is {fsdp}, but must divide the {len(devices)} devices present, or be 0 for all."
        )
    grid = np.asarray(devices).reshape(-1, group)
    return Mesh(grid, (DATA, FSDP), axis_types=(AxisType.Auto, AxisType.Auto))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a full copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its leading axis over all devices."""
    return NamedSharding(mesh, PartitionSpec((DATA, FSDP)))


def state_split(mesh: Mesh, state: Tree, *, smallest: int) -> Tree:
    """Returns the sharding of every array of a state: parameters and their optimizer state are sharded alike.

    An array of at least `smallest` elements is split over "fsdp" along the longest of its axes that divides evenly;
    the others are copied.

    Args:
      mesh: of `device_mesh`.
      state: arrays, or their shapes.
      smallest: `config.parallel.fsdp_smallest`.
    """
    group = mesh.shape[FSDP]

    def of(array: Any) -> NamedSharding:
        axes = [axis for axis, side in enumerate(array.shape) if side % group == 0]
        if group == 1 or array.size < smallest or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: array.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, FSDP))

    return jax.tree.map(of, state)


def place(tree: Tree, shardings: Any) -> Tree:
    """Places arrays that every host holds in full onto the devices of all hosts.

    Args:
      tree: arrays in this host's memory or on its devices.
      shardings: one for all, or a tree of them.
    """

    def put(array: Any, sharding: NamedSharding) -> jax.Array:
        if sharding.is_fully_addressable or getattr(array, "sharding", None) == sharding:
            return jax.device_put(array, sharding)
        here = np.asarray(array)
        return jax.make_array_from_callback(here.shape, sharding, lambda index: here[index])

    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda array: put(array, shardings), tree)
    return jax.tree.map(put, tree, shardings)


def whole(tree: Tree, mesh: Mesh) -> Tree:
    """Returns split arrays in full on every device; for use inside a jitted program, where it costs an all-gather."""
    return jax.lax.with_sharding_constraint(tree, jax.tree.map(lambda _: replicated(mesh), tree))


def gathered(tree: Tree, mesh: Mesh) -> Tree:
    """Returns arrays that lie on a mesh in full on this host's first device; every host must call it."""
    if mesh.size == 1:
        return tree
    copies = jax.device_put(tree, replicated(mesh))
    return jax.tree.map(lambda array: array.addressable_data(0), copies)


def agreed(values: Tree) -> Tree:
    """Returns the first host's numbers on all hosts: what each computes for itself may differ in the last digits.

    Args:
      values: a tree of floats or numpy arrays, with the same structure on all hosts.
    """
    if jax.process_count() == 1:
        return values

    def first(value: Any) -> Any:
        array = np.asarray(value)
        raw = multihost_utils.broadcast_one_to_all(np.frombuffer(array.tobytes(), np.uint8))
        same = np.frombuffer(np.asarray(raw).tobytes(), array.dtype).reshape(array.shape)
        return float(same) if isinstance(value, float) else same

    return jax.tree.map(first, values)


def is_first_host() -> bool:
    """Whether this process writes what only one may write."""
    return jax.process_index() == 0


def check_batch_size(config: ConfigDict, mesh: Mesh) -> None:
    """Refuses a global batch that the devices cannot share evenly.

    Raises:
      UserError: the batch size is no multiple of the number of devices.
    """
    size = config.data.batch_size
    if size % mesh.size:
        raise UserError(f"config.data.batch_size is {size}, but must be a multiple of the {mesh.size} devices present.")
