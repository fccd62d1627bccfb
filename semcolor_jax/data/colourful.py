"""Leaves almost colourless photos out of training: `config.data.min_chroma`.

Such photos teach a network that grey is safe. BigColor (Kim et al. 2022) and DDColor (Kang et al. 2023) likewise leave
out about a tenth of ImageNet.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, UInt8

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample, Source
from semcolor_jax.data.sizes import sizes_of
from semcolor_jax.data.supervision import Supervision
from semcolor_jax.errors import UserError
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example

_LOOKED_AT = 64
"""Evenly spaced pixels sampled along a photo's longer side: a mean needs no more."""


def mean_chroma(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns the mean distance from grey in the ab plane, CIE units, over a grid of pixels."""
    step = -(-max(image.shape[:2]) // _LOOKED_AT)
    ab = rgb_to_lab(image[::step, ::step], xp=np)[..., 1:]
    return float(np.mean(np.hypot(ab[..., 0], ab[..., 1])))


@dataclasses.dataclass(frozen=True)
class _Facts:
    chroma: float
    labels: bool
    scene: bool


class ColourfulSource:
    """The photos of a source with at least a threshold of mean chroma.

    Attributes:
      name: the source's, with the threshold.
      names: of the photos that are left.
      supervision: of the photos that are left.
      dropped: how many were left out.
    """

    def __init__(self, source: Source, *, min_chroma: float):
        """Reads every photo once, on all cores.

        Raises:
          UserError: no photo is left; or what the source raises.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            facts = list(pool.map(lambda index: _facts(source.read(index)), range(len(source))))
        self._source = source
        self._kept = np.flatnonzero([fact.chroma >= min_chroma for fact in facts])
        if not len(self._kept):
            raise UserError(f"no photo of {source.name} has a mean chroma of config.data.min_chroma = {min_chroma:g}.")
        self.dropped = len(source) - len(self._kept)
        self.name = f"{source.name} of chroma {min_chroma:g}"
        self.names: Sequence[str] = [source.names[int(index)] for index in self._kept]
        kept = [facts[index] for index in self._kept]
        self.supervision = Supervision(
            photos=len(kept),
            with_labels=sum(fact.labels for fact in kept),
            with_scene=sum(fact.scene for fact in kept),
        )

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, index: int) -> Sample:
        """Returns sample `index`. Raises what its source raises."""
        return self._source.read(int(self._kept[index]))

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph."""
        from semcolor_jax.data.cpu_tf import tf  # here, because `read` does without TensorFlow

        return self._source.load(tf.constant(self._kept, tf.int64)[index])

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each photo in pixels."""
        return sizes_of(self._source)[self._kept]


def _facts(sample: Sample) -> _Facts:
    return _Facts(
        chroma=mean_chroma(sample.image),
        labels=bool(np.any(sample.labels != IGNORE_LABEL)),
        scene=bool(np.any(sample.scene_prob > 0)),
    )
