"""Plans batches of equally sized crops where photos differ in size; see `data.device_cache`.

The stream of places is that of `data.pipeline`: the same order, the same seed. Every place goes to the queue of its
sample's group, and a queue that reaches the batch size becomes the next batch. With one group these are exactly the
batches of `data.pipeline`. Everything follows from (seed, first place), so a resumed run skips to where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from semcolor_jax.data.example import Source
from semcolor_jax.data.order import epoch_order


class PlannedBatch(NamedTuple):
    """The samples of one batch, all of one group, in the order of their places."""

    group: int
    places: Int64[np.ndarray, " batch"]
    samples: Int64[np.ndarray, " batch"]


def planned_batches(
    source: Source, groups: Int64[np.ndarray, " n"], *, batch_size: int, seed: int, first_place: int = 0, skip: int = 0
) -> Iterator[PlannedBatch]:
    """Yields the endless batches from the one after the first `skip` on.

    Args:
      source: its epochs are iterated.
      groups: each sample's, from 0 on.
      batch_size: samples in a batch.
      seed: the run's.
      first_place: where the queues start empty.
      skip: how many batches are skipped; this only draws their epochs' orders, microseconds a sample.
    """
    stream = _batches(source, groups, batch_size=batch_size, seed=seed, first_place=first_place)
    return itertools.islice(stream, skip, None)


def _batches(
    source: Source, groups: Int64[np.ndarray, " n"], *, batch_size: int, seed: int, first_place: int
) -> Iterator[PlannedBatch]:
    samples = len(source)
    queues = [np.zeros((2, 0), np.int64) for _ in range(int(groups.max()) + 1)]
    for epoch in itertools.count(first_place // samples):
        places = np.arange(max(first_place, epoch * samples), (epoch + 1) * samples)
        chosen = epoch_order(source, seed=seed, epoch=epoch)[places % samples]
        ready = []
        for group, queue in enumerate(queues):
            mine = groups[chosen] == group
            queue = np.concatenate([queue, [places[mine], chosen[mine]]], axis=1)
            whole = queue.shape[1] // batch_size * batch_size
            ready += [PlannedBatch(group, *queue[:, i : i + batch_size]) for i in range(0, whole, batch_size)]
            queues[group] = queue[:, whole:]
        yield from sorted(ready, key=lambda batch: int(batch.places[-1]))  # in the order in which they filled up
