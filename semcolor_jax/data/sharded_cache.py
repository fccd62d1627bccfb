"""Spreads the photo cache of `data.device_cache` over all devices of all hosts.

Photo i lies on device i % n, and a host decodes only the photos of its own devices. The batches are those of one
device, sample for sample: every device crops all rows of the global batch, only those of its own photos count, and one
reduce-scatter brings each row to the device that trains on it. Cropping is cheap compared with the network.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from semcolor_jax.data.augmentation import Options
from semcolor_jax.data.device_cache import (
    CacheArrays,
    CachedBatch,
    DeviceCache,
    Layout,
    cached_batch,
    plan_layout,
)
from semcolor_jax.data.example import Batch, Source


class ShardedCache(DeviceCache):
    """The samples of a source on all devices of a mesh."""

    def __init__(self, source: Source, config: ConfigDict, mesh: Mesh):
        """Plans the cache as `DeviceCache` does. Raises `UserError` for the same reasons."""
        self._shards = mesh.size
        super().__init__(source, config)
        self.mesh = mesh
        self._split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))

    def _planned(self, source: Source, config: ConfigDict) -> Layout:
        return plan_layout(source, config, shards=self._shards)

    def abstract(self) -> CacheArrays:
        """Returns the arrays' shapes and shardings."""
        rows = self._shards * self.layout.rows

        def shape(*sides: int, dtype: Any) -> Any:
            return jax.ShapeDtypeStruct(sides, dtype, sharding=self._split)

        return CacheArrays(
            pools=tuple(shape(self._shards * size, dtype=jnp.uint32) for size in self.layout.pool_sizes),
            pool=shape(rows, dtype=jnp.int32),
            start=shape(rows, dtype=jnp.int32),
            size=shape(rows, 2, dtype=jnp.int32),
            scene_index=shape(rows, 5, dtype=jnp.int32),
            scene_prob=shape(rows, 5, dtype=jnp.float32),
        )

    def fill(self) -> None:
        """Decodes the photos of this host's devices. Raises `UserError` as `DeviceCache.fill` does."""
        count = len(self._source)
        parts: list[CacheArrays] = []
        for shard, device in enumerate(np.ravel(self._split.mesh.devices)):
            if device.process_index == jax.process_index():
                with jax.default_device(device):
                    parts.append(self._padded(self.filled(range(shard, count, self._shards))))

        def join(shape: jax.ShapeDtypeStruct, *arrays: jax.Array) -> jax.Array:
            return jax.make_array_from_single_device_arrays(shape.shape, self._split, list(arrays))

        self.arrays = jax.tree.map(join, self.abstract(), *parts)

    def _padded(self, part: CacheArrays) -> CacheArrays:
        """Returns a device's arrays, padded to the same number of rows on every device."""
        missing = self.layout.rows - len(part.pool)

        def pad(table: jax.Array) -> jax.Array:
            return jnp.pad(table, [(0, missing), *[(0, 0)] * (table.ndim - 1)])

        tables = {name: pad(getattr(part, name)) for name in ("pool", "start", "size", "scene_index", "scene_prob")}
        return CacheArrays(pools=part.pools, **tables)

    def _put(self, numbers: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(NamedSharding(self._split.mesh, PartitionSpec()), numbers)


def sharded_batch(batch: CachedBatch, keys: Key[Array, " b"], *, options: Options) -> Batch:
    """Gathers and augments as `cached_batch` does, inside the jitted step; the rows come out split over the mesh.

    Args:
      batch: of a `ShardedCache`.
      keys: one for each place, on all devices.
      options: the augmentation's.
    """
    mesh = batch.mesh
    assert mesh is not None
    axes = PartitionSpec(mesh.axis_names)

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(axes, PartitionSpec(), PartitionSpec()), out_specs=axes, check_vma=False
    )
    def crops(arrays: CacheArrays, rows: jax.Array, keys: jax.Array) -> Batch:
        mine = rows % mesh.size == jax.lax.axis_index(mesh.axis_names)
        row = jnp.where(mine, rows // mesh.size, 0)
        here = dataclasses.replace(batch, arrays=arrays, rows=row, mesh=None)

        def scatter(array: jax.Array) -> jax.Array:
            counted = jnp.where(mine.reshape(-1, *[1] * (array.ndim - 1)), array, 0)
            return jax.lax.psum_scatter(counted, mesh.axis_names, scatter_dimension=0, tiled=True)

        return jax.tree.map(scatter, cached_batch(here, keys, options=options))

    return crops(batch.arrays, batch.rows, keys)
