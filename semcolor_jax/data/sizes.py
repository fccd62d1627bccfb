"""Reads the sizes of a source's photos."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from semcolor_jax.data.example import Source


@runtime_checkable
class HasSizes(Protocol):
    """A source that knows its photos' sizes without decoding them."""

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each photo in pixels."""
        ...


def sizes_of(source: Source) -> Int64[np.ndarray, "n 2"]:
    """Returns height and width of each photo: from the source if it knows them, else by decoding all."""
    if isinstance(source, HasSizes):
        return source.sizes()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shapes = pool.map(lambda index: source.read(index).labels.shape, range(len(source)))
        return np.array(list(shapes), np.int64)
