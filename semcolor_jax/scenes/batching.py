"""Batches photos as the squares that a scene teacher takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

BATCH_SIZE = 16
"""Photos per batch. Larger batches gain little on a CPU, and these fit beside the 0.5 GB of VGG16-Places365."""

BatchFunction = Callable[[UInt8[np.ndarray, "B side side 3"]], Float32[jax.Array, "B k"]]
"""Maps photos to features or probabilities, compiled for one batch size."""


def fit_square(photo: UInt8[np.ndarray, "h w 3"], *, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """Resizes a whole photo to a square, bilinear and antialiased.

    It is squeezed rather than cropped, because everything in a photo belongs to its scene; the publishers of the Keras
    VGG16-Places365 do the same.
    """
    return np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR))


def map_batches(function: BatchFunction, photos: Iterable[np.ndarray]) -> Iterator[Float32[np.ndarray, " k"]]:
    """Yields the function's result for each photo; the last batch is padded, so that it compiles once."""
    iterator = iter(photos)
    while batch := list(itertools.islice(iterator, BATCH_SIZE)):
        full = np.stack(batch + batch[-1:] * (BATCH_SIZE - len(batch)))
        yield from np.asarray(function(full))[: len(batch)]
