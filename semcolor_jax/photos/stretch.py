"""Stretches the contrast of faded photos to the full range of greys."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

ENDS = (0.1, 99.9)
"""Percentiles of the luma that become black and white."""

_FADED = 0.5  # share of the range: less than a good print uses
_BLANK = 0.02  # share of the range or less: there is nothing to spread
_SAMPLES = 1024  # pixels per side, for the percentiles
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)

Pixels = UInt8[np.ndarray, "height width 3"] | UInt16[np.ndarray, "height width 3"]


def is_faded(pixels: Pixels) -> bool:
    """Returns whether a photo uses less than half of the range, and so would gain from `stretched`."""
    low, high = _ends(pixels)
    return bool(_BLANK < high - low < _FADED)


def stretched(pixels: Pixels) -> Pixels:
    """Returns the photo with values spread linearly, `ENDS` becoming black and white; blank pages are unchanged."""
    low, high = _ends(pixels)
    if high - low <= _BLANK:
        return pixels
    full = np.iinfo(pixels.dtype).max
    table = np.rint(np.clip((np.arange(full + 1) / full - low) / (high - low), 0, 1) * full).astype(pixels.dtype)
    return table[pixels]


def _ends(pixels: Pixels) -> Float32[np.ndarray, " 2"]:
    """Returns the luma at `ENDS`, 0..1."""
    step = max(1, max(pixels.shape[:2]) // _SAMPLES)
    luma = pixels[::step, ::step] @ _LUMA / np.float32(np.iinfo(pixels.dtype).max)
    return np.percentile(luma, ENDS).astype(np.float32)
