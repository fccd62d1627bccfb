"""Stores weights as float32, as float16, or as int8 kernels with one scale per output channel.

Quantization is symmetric: a kernel `w` (..., O) becomes `round(w / scale)` in -127..127 with `scale = max|w| / 127`
over all axes but the last, so that no weight changes by more than half a scale (Krishnamoorthi 2018, arXiv:1806.08342,
section 2.2). The network computes in float32 as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from flax.traverse_util import flatten_dict

Bits = Literal[8, 16, 32]

Arrays = dict[str, np.ndarray]
"""Variables by path, as in "params/decoder/conv1_1/kernel"."""

SCALE = ":scale"
"""Suffix to a kernel's name for its scales."""

_WORTH_IT = 8192
"""Elements; the heads and the first convolution are smaller, take hardly any space and decide the colours directly."""


def pack(variables: Mapping[str, Any], *, bits: Bits = 16) -> Arrays:
    """Returns a tree of variables as the flat arrays to write.

    Args:
      variables: nested dicts of arrays.
      bits: 32 for float32; 16 for float16; 8 for int8 in large kernels, each with its float32 scales (O,) beside it,
        and float16 elsewhere. What float16 cannot hold stays float32.
    """
    packed: Arrays = {}
    for name, leaf in flatten_dict(variables, sep="/").items():
        array = np.asarray(leaf)
        if bits == 8 and name.endswith("kernel") and array.size >= _WORTH_IT:
            packed[name], packed[name + SCALE] = quantize(array)
        else:
            packed[name] = np.asarray(array, np.float32) if bits == 32 else _half(array)
    return packed


def unpack(packed: Mapping[str, np.ndarray]) -> Arrays:
    """Inverts `pack`: returns the variables in float32, by path.

    Raises:
      KeyError: an int8 array comes without its scales.
    """
    return {
        name: array * packed[name + SCALE] if array.dtype == np.int8 else np.asarray(array, np.float32)
        for name, array in packed.items()
        if not name.endswith(SCALE)
    }


def quantize(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel (..., O) as int8 and its scales (O,), float32; a channel of zeros gets the scale 1."""
    kernel = np.asarray(kernel, np.float32)
    largest = np.max(np.abs(kernel), axis=tuple(range(kernel.ndim - 1)))
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(kernel / scales).astype(np.int8), scales


def _half(array: np.ndarray) -> np.ndarray:
    if np.max(np.abs(array), initial=0) > np.finfo(np.float16).max:
        return np.asarray(array, np.float32)
    return np.asarray(array, np.float16)
