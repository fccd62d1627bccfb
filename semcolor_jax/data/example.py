"""Defines the sample types, and the interface that every data set implements."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL, TOP_SCENES

if TYPE_CHECKING:
    import tensorflow as tf

Example: TypeAlias = "dict[str, tf.Tensor]"
"""One sample inside tf.data: `image`, `labels`, `scene_index`, `scene_prob`, as in docs/architecture.md."""

Batch: TypeAlias = dict[str, Any]
"""The arrays of `Example` with a leading batch axis, numpy or on device."""


class Scene(NamedTuple):
    """The likeliest Places365 categories of a photo; probabilities all 0 mean "no scene label"."""

    indices: Int32[np.ndarray, " 5"]
    probabilities: Float32[np.ndarray, " 5"]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample on the host."""

    name: str
    image: UInt8[np.ndarray, "h w 3"]
    labels: UInt8[np.ndarray, "h w"]
    scene_index: Int32[np.ndarray, " 5"]
    scene_prob: Float32[np.ndarray, " 5"]


class Source(Protocol):
    """Random access to the samples of one split of a data set."""

    @property
    def name(self) -> str:
        """The data set's name in reports and messages."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """One name per sample, in the order of the indices."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """Returns sample `index` on the host. Several threads may call it at once."""
        ...

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph, with the pixels that `read` gives."""
        ...


def no_scene() -> Scene:
    """Returns the scene of a photo whose scene is unknown."""
    return Scene(np.zeros(TOP_SCENES, np.int32), np.zeros(TOP_SCENES, np.float32))


def no_labels(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Returns the label map of a photo without labels: all ignored."""
    return np.full(image.shape[:2], IGNORE_LABEL, np.uint8)
