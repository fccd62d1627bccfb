"""Decodes a source's photos once and holds them in the host's memory, for jobs that train several times."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from semcolor_jax.data import order
from semcolor_jax.data.example import Sample, Source
from semcolor_jax.data.supervision import supervision_of

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example


class HeldSource:
    """The same samples in the same order.

    Attributes:
      name: the source's.
      names: the samples'.
      supervision: the source's.
    """

    def __init__(self, source: Source):
        """Decodes everything on all cores. Raises what the source raises."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._samples = list(pool.map(source.read, range(len(source))))
        self._source = source
        self.name, self.names = source.name, list[str](source.names)
        self.supervision = supervision_of(source)

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Sample:
        """Returns sample `index`."""
        return self._samples[index]

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` inside a tf.data graph, as its source does."""
        return self._source.load(index)

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each photo in pixels."""
        return np.array([sample.labels.shape for sample in self._samples], np.int64)

    def epoch_order(self, *, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
        """Returns the indices of an epoch's samples, as its source orders them."""
        return order.epoch_order(self._source, seed=seed, epoch=epoch)
