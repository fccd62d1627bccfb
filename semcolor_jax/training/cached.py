"""Yields training batches from photos cached on the device (`config.data.cache = "device"`), a cache per crop size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from semcolor_jax.data.device_cache import CachedBatch, DeviceCache, require_room
from semcolor_jax.data.example import Source
from semcolor_jax.data.sharded_cache import ShardedCache
from semcolor_jax.training.state import TrainState
from semcolor_jax.training.step import TrainStep

logger = logging.getLogger(__name__)


class Phase(Protocol):
    """The part of `loop.Phase` that the cache needs."""

    @property
    def config(self) -> ConfigDict:
        """The phase's config."""
        ...

    @property
    def first_step(self) -> int:
        """Updates done before it begins."""
        ...

    @property
    def step(self) -> TrainStep:
        """The jitted training step."""
        ...


def cached_batches(
    source: Source, phases: Sequence[Phase], *, state: TrainState, first_step: int, mesh: Mesh | None = None
) -> Iterator[CachedBatch]:
    """Yields the endless batches from `first_step` on, phase after phase.

    Args:
      source: decoded once for each size of crops.
      phases: the run's.
      state: only its shapes matter.
      first_step: updates already done.
      mesh: devices to spread the photos over; None for the default device.

    Raises:
      UserError: while iterating, if the cache does not fit beside the step.
    """
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding), state)
    ends = [*(phase.first_step for phase in phases[1:]), None]
    cache: DeviceCache | None = None
    filled_for: tuple[int, int] | None = None
    for phase, end in zip(phases, ends, strict=True):
        if end is not None and end <= first_step:
            continue
        config, begin = phase.config, max(first_step, phase.first_step)
        wanted = (config.data.image_size, config.data.short_side)
        if cache is None or filled_for != wanted:
            if cache is not None:
                cache.delete()
            cache, filled_for = _filled(source, phase, shapes, mesh), wanted
        stream = cache.batches(first_place=phase.first_step * config.data.batch_size, skip=begin - phase.first_step)
        yield from stream if end is None else (next(stream) for _ in range(end - begin))


def _filled(source: Source, phase: Phase, state: TrainState, mesh: Mesh | None) -> DeviceCache:
    if mesh is None or mesh.size == 1:
        cache = DeviceCache(source, phase.config)
    else:
        cache = ShardedCache(source, phase.config, mesh)
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:  # CPUs have none
        free = stats["bytes_limit"] - stats["bytes_in_use"]
        require_room(cache.layout, step_bytes=step_bytes(phase.step, state, cache), free_bytes=free)
    cache.fill()
    groups = ", ".join(f"{side} px" for side, _ in cache.layout.grouping.crops)
    gib = cache.layout.bytes / 2**30
    logger.info("%s: %d photos take %.2f GiB on each device, crops of %s", source.name, len(source), gib, groups)
    return cache


def step_bytes(step: Any, state: TrainState, cache: DeviceCache) -> int:
    """Returns what the step needs besides its arguments, in bytes, by compiling it for the largest crops."""
    memory = step.lower(state, cache.abstract_batch()).compile().memory_analysis()
    return memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
