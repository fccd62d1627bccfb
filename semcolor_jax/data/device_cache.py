"""Keeps a whole data set in the accelerator's memory: `config.data.cache = "device"`.

A source is decoded once, on the host. Every photo keeps its aspect ratio, as one uint32 a pixel (red, green, blue,
label), in long pools, none above 2^31 elements. A table says where each photo begins and how large it is, so no photo
is padded and shapes are static for any aspect ratio. Gathering and augmentation happen inside the jitted step
(`cached_batch`); the host sends two numbers a sample. `data.sharded_cache` spreads it over many devices.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float32, Int, Int32, Int64, Key, UInt32
from ml_collections import ConfigDict
from PIL import Image
from tqdm import tqdm

from semcolor_jax.data.augmentation import Options, augment, draw, pack
from semcolor_jax.data.batch_plan import planned_batches
from semcolor_jax.data.example import Batch, Sample, Source
from semcolor_jax.data.photo_groups import Crops, Grouping, group_photos, stored_sizes
from semcolor_jax.data.scene_smoothing import gaussian_ranks
from semcolor_jax.data.sizes import sizes_of
from semcolor_jax.errors import UserError

POOL = 2**31 - 1
"""Most elements of a pool, so that positions are int32."""

CHUNK = 2**22
"""Pixels copied to the device at once: 16 MiB of host memory."""

_READ_AHEAD = 128  # photos decoded at once
_REPORT_FROM = 2000  # photos; fewer take seconds
_GIB = 2**30


@flax.struct.dataclass
class CacheArrays:
    """All samples, on the device."""

    pools: tuple[UInt32[Array, " pixels"], ...]
    pool: Int32[Array, " n"]  # a photo's pool
    start: Int32[Array, " n"]  # and its start there
    size: Int32[Array, "n 2"]
    scene_index: Int32[Array, "n 5"]
    scene_prob: Float32[Array, "n 5"]


@flax.struct.dataclass
class CachedBatch:
    """The step's input in place of a batch: where its samples lie. Each crop size compiles its own program."""

    arrays: CacheArrays
    rows: Int32[Array, " b"]  # of the arrays
    places: UInt32[Array, " b"]  # in the training stream
    crops: Crops = flax.struct.field(pytree_node=False)
    mesh: Mesh | None = flax.struct.field(
        pytree_node=False, default=None
    )  # over which `data.sharded_cache` spread them


class Layout(NamedTuple):
    """Where each photo will lie in the cache, planned before decoding."""

    grouping: Grouping
    sizes: Int64[np.ndarray, "n 2"]  # as stored
    pool: Int32[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    pool_sizes: tuple[int, ...]
    shards: int = 1

    @property
    def rows(self) -> int:
        """Number of photos per device, rounded up."""
        return -(-len(self.sizes) // self.shards)

    @property
    def bytes(self) -> int:
        """Size of the cache on each device."""
        return 4 * sum(self.pool_sizes) + self.rows * (4 + 4 + 8 + 20 + 20)


def cached_batch(batch: CachedBatch, keys: Key[Array, " b"], *, options: Options) -> Batch:
    """Gathers and augments the samples of a batch: a pure function for use inside the jitted step.

    Args:
      batch: where the samples lie.
      keys: one for each place.
      options: the augmentation's.

    Returns:
      The batch as `data.pipeline` gives it: image uint8 (b, side, side, 3), labels, scene_index, scene_prob.
    """
    arrays = batch.arrays

    def one(row: Int[Array, ""], key: Key[Array, ""]):
        pool, start, size = arrays.pool[row], arrays.start[row], arrays.size[row]

        def lookup(y: Int[Array, "h w"], x: Int[Array, "h w"]) -> UInt32[Array, "h w"]:
            position = start + y * size[1] + x
            pixels = arrays.pools[0].at[position].get(mode="clip")
            for number, other in enumerate(arrays.pools[1:], 1):
                pixels = jnp.where(pool == number, other.at[position].get(mode="clip"), pixels)
            return pixels

        side, short_side = batch.crops
        return augment(lookup, size, draw(key), side=side, short_side=short_side, options=options)

    crops = jax.vmap(one)(batch.rows, keys)
    scenes = {"scene_index": arrays.scene_index[batch.rows], "scene_prob": arrays.scene_prob[batch.rows]}
    return {"image": crops.image, "labels": crops.labels, **scenes}


class _Packed(NamedTuple):
    """A sample as it is stored."""

    pixels: UInt32[np.ndarray, " pixels"]
    scene_index: Int32[np.ndarray, " 5"]
    scene_prob: Float32[np.ndarray, " 5"]


class DeviceCache:
    """The samples of a source on the device, for the crops that a config asks for.

    Attributes:
      config: the training's, or one of its phases'.
      layout: where the samples lie.
      arrays: the samples; empty until `fill`.
    """

    def __init__(self, source: Source, config: ConfigDict):
        """Plans the cache, without decoding anything if the source knows its photos' sizes.

        Raises:
          UserError: if the source is empty, or a photo is too small.
        """
        if not len(source):
            raise UserError(f"the data set {source.name} has no samples to train on.")
        self._source, self.config = source, config
        self.layout = self._planned(source, config)
        self.arrays: CacheArrays | None = None
        self.mesh: Mesh | None = None

    def _planned(self, source: Source, config: ConfigDict) -> Layout:
        return plan_layout(source, config)

    def abstract(self) -> CacheArrays:
        """Returns the arrays' shapes, to compile the step before they are filled."""
        count, layout = len(self._source), self.layout
        shape: Any = jax.ShapeDtypeStruct
        return CacheArrays(
            pools=tuple(shape((size,), jnp.uint32) for size in layout.pool_sizes),
            pool=shape((count,), jnp.int32),
            start=shape((count,), jnp.int32),
            size=shape((count, 2), jnp.int32),
            scene_index=shape((count, 5), jnp.int32),
            scene_prob=shape((count, 5), jnp.float32),
        )

    def fill(self) -> None:
        """Decodes every sample once, on all cores, `CHUNK` pixels of host memory at a time.

        Raises:
          UserError: if a sample cannot be read, or has changed since the source was made.
        """
        self.arrays = self.filled(range(len(self._source)))

    def filled(self, indices: Sequence[int]) -> CacheArrays:
        """Returns those samples on JAX's default device, in order.

        Raises:
          UserError: if a sample cannot be read, or has changed since the source was made.
        """
        rows, count = np.asarray(indices, np.int64), len(indices)
        scene_index, scene_prob = np.zeros((count, 5), np.int32), np.zeros((count, 5), np.float32)
        pools: list[jax.Array] = []
        samples = enumerate(self._packed(indices))
        for number, size in enumerate(self.layout.pool_sizes):
            members = int(np.sum(self.layout.pool[rows] == number))

            def pixels(members: int = members) -> Iterator[UInt32[np.ndarray, " pixels"]]:
                for row, photo in itertools.islice(samples, members):
                    scene_index[row], scene_prob[row] = photo.scene_index, photo.scene_prob
                    yield photo.pixels

            pools.append(_upload(pixels(), size))
        if self.config.data.scene_smoothing == "gaussian":
            scene_prob = gaussian_ranks(scene_prob)
        pool, start, sizes = (table[rows] for table in (self.layout.pool, self.layout.start, self.layout.sizes))
        tables = (pool, start.astype(np.int32), sizes.astype(np.int32), scene_index, scene_prob)
        return CacheArrays(tuple(pools), *(jnp.asarray(table) for table in tables))

    def batches(self, *, first_place: int = 0, skip: int = 0) -> Iterator[CachedBatch]:
        """Yields the endless training batches after `fill`; see `data.batch_plan.planned_batches`."""
        plan = planned_batches(
            self._source,
            self.layout.grouping.groups,
            batch_size=self.config.data.batch_size,
            seed=self.config.seed,
            first_place=first_place,
            skip=skip,
        )
        for batch in plan:
            yield CachedBatch(
                arrays=cast(CacheArrays, self.arrays),
                rows=self._put(batch.samples.astype(np.int32)),
                places=self._put(batch.places.astype(np.uint32)),
                crops=self.layout.grouping.crops[batch.group],
                mesh=self.mesh,
            )

    def delete(self) -> None:
        """Frees the device's memory, once the steps that use it are done."""
        if self.arrays is not None:
            for pool in self.arrays.pools:
                pool.delete()
        self.arrays = None

    def abstract_batch(self) -> CachedBatch:
        """Returns the shapes of a batch of the largest crops, to compile the step before anything is decoded."""
        count = self.config.data.batch_size
        rows, places = (jax.ShapeDtypeStruct((count,), dtype) for dtype in (jnp.int32, jnp.uint32))
        crops = self.layout.grouping.crops[0]
        return CachedBatch(arrays=self.abstract(), rows=rows, places=places, crops=crops, mesh=self.mesh)  # type: ignore[arg-type]

    def _put(self, numbers: np.ndarray) -> jax.Array:
        return jax.device_put(numbers)

    def _packed(self, indices: Sequence[int]) -> Iterator[_Packed]:
        """Yields those samples in order, as they are stored, read and packed on all cores."""

        def read(index: int) -> _Packed:
            sample = _at_size(self._source.read(index), self.layout.sizes[index])
            return _Packed(pack(sample.image, sample.labels).ravel(), sample.scene_index, sample.scene_prob)

        count = len(indices)
        progress = tqdm(total=count, desc="filling the cache", unit="photo", disable=count < _REPORT_FROM)
        with progress, ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, count, _READ_AHEAD):
                window = indices[first : first + _READ_AHEAD]
                yield from pool.map(read, window)
                progress.update(len(window))


def plan_layout(source: Source, config: ConfigDict, *, pool: int = POOL, shards: int = 1) -> Layout:
    """Returns where each photo will lie.

    A source that does not know its photos' sizes is decoded twice, first for the sizes only.

    Args:
      source: of the photos.
      config: the training's.
      pool: the largest number of pixels in one pool.
      shards: devices to spread photos over: photo i goes to device i % shards. All have equally sized pools.
    """
    data = config.data
    sizes = sizes_of(source)
    grouping = group_photos(
        sizes, source.names, side=data.image_size, short_side=data.short_side, batch_size=data.batch_size
    )
    stored = stored_sizes(sizes, grouping)
    pixels = stored.prod(axis=1)
    numbers, starts = np.zeros(len(stored), np.int32), np.zeros(len(stored), np.int64)
    lengths = [[0] for _ in range(shards)]
    for index, count in enumerate(pixels):
        mine = lengths[index % shards]
        if mine[-1] + count > pool:
            mine.append(0)
        numbers[index], starts[index] = len(mine) - 1, mine[-1]
        mine[-1] += int(count)
    largest = tuple(max(sizes) for sizes in itertools.zip_longest(*lengths, fillvalue=0))
    return Layout(grouping, stored, numbers, starts, largest, shards)


def require_room(layout: Layout, *, step_bytes: int, free_bytes: int) -> None:
    """Refuses a cache that does not fit in memory beside what the step needs.

    Raises:
      UserError: with all three numbers.
    """
    if layout.bytes + step_bytes > free_bytes:
        raise UserError(
            f'config.data.cache is "device", but the {len(layout.sizes):,} photos take {layout.bytes / _GIB:.2f} '
            f"GiB, the training step {step_bytes / _GIB:.2f} GiB, and {free_bytes / _GIB:.2f} GiB of the device's "
            "memory are free: lower config.data.short_side or batch_size, train on fewer photos, or leave "
            "config.data.cache at its default."
        )


def _at_size(sample: Sample, size: Int64[np.ndarray, " 2"]) -> Sample:
    """Shrinks a sample as `data.augment.resize_short` does: the photo bilinear and antialiased, the labels nearest."""
    height, width = (int(side) for side in size)
    if sample.labels.shape == (height, width):
        return sample
    image = Image.fromarray(sample.image).resize((width, height), Image.Resampling.BILINEAR)
    labels = Image.fromarray(sample.labels).resize((width, height), Image.Resampling.NEAREST)
    return Sample(sample.name, np.asarray(image), np.asarray(labels), sample.scene_index, sample.scene_prob)


def _upload(photos: Iterator[UInt32[np.ndarray, " pixels"]], size: int) -> UInt32[Array, " size"]:
    """Copies photos into one array on the device, with at most `CHUNK` pixels and one photo on the host."""
    write = jax.jit(lambda pool, part, start: jax.lax.dynamic_update_slice(pool, part, (start,)), donate_argnums=0)
    pool, done, count = jnp.zeros(size, jnp.uint32), 0, 0
    waiting: list[np.ndarray] = []  # joined once per chunk: joining for every photo would copy the chunk each time
    for photo in photos:
        waiting.append(photo)
        count += len(photo)
        if count >= CHUNK:
            pixels = np.concatenate(waiting)
            whole = len(pixels) // CHUNK * CHUNK
            for start in range(0, whole, CHUNK):
                pool = write(pool, pixels[start : start + CHUNK], done + start)
            done, waiting, count = done + whole, [pixels[whole:]], len(pixels) - whole
    rest = np.concatenate([*waiting, np.zeros(0, np.uint32)])
    return write(pool, rest, done) if len(rest) else pool
