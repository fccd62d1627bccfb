"""Orders training samples: each epoch is a function of (seed, epoch)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from semcolor_jax.data.example import Source


@runtime_checkable
class HasEpochOrder(Protocol):
    """A source that defines the order of its own epochs."""

    def epoch_order(self, *, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
        """Returns the indices of an epoch's samples, as many as the source has; some may be missing or repeated."""
        ...


def epoch_order(source: Source, *, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """Returns the indices of an epoch's n = len(source) samples: the source's own order, else a permutation."""
    if isinstance(source, HasEpochOrder):
        return source.epoch_order(seed=seed, epoch=epoch)
    return np.random.default_rng((seed, epoch)).permutation(len(source))


def first_indices(source: Source, count: int, *, seed: int) -> Int64[np.ndarray, " count"]:
    """Returns the indices of the first `count` samples of the endless training stream."""
    epochs = range(-(-count // len(source)))
    return np.concatenate([epoch_order(source, seed=seed, epoch=epoch) for epoch in epochs])[:count]
