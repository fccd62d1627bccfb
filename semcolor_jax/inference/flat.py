"""Finds blank pages and scanner borders, which get no colour, and distinguishes them from skies, which do.

A network paints flat grey like a sky. A border differs from a sky by its shape: whole rows or columns of one grey, from
the edge of the picture inwards, that end abruptly along a straight line. A sky drifts, has grain, and ends at trees and
roofs.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

_TOLERANCE = 2.5  # 8-bit levels by which JPEG spreads a border's single grey
_FLAT_SHARE = 0.97  # share of a row's pixels within the tolerance; the rest is dust
_STEP_SHARE = 0.4  # least share of a row's pixels that differ from the row before where the picture begins
_BLOCK = 8  # rows within which they must differ
_BLANK_SPREAD = 3.0  # levels between the percentiles of a blank page
_SAMPLES = 2048  # pixels along the other side: enough to judge a row


@dataclasses.dataclass(frozen=True)
class Coloured:
    """The part of a photo that gets colour, in pixels: rows top..bottom and columns left..right, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int
    height: int
    width: int

    @classmethod
    def all_of(cls, photo: np.ndarray) -> Coloured:
        """Returns the whole of a photo, any shape (height, width, ...)."""
        height, width = photo.shape[:2]
        return cls(0, height, 0, width, height, width)

    def masks(self, columns: int) -> tuple[Float32[np.ndarray, " height"], Float32[np.ndarray, " columns"]]:
        """Returns 1 for the rows and for the columns inside, 0 for the others, and for columns past the width."""
        rows, across = np.zeros(self.height, np.float32), np.zeros(columns, np.float32)
        rows[self.top : self.bottom] = 1
        across[self.left : self.right] = 1
        return rows, across


def coloured_part(photo: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]) -> Coloured:
    """Returns the part of a photo without its flat borders; nothing for a blank page."""
    height, width = photo.shape[:2]
    step = max(1, -(-max(height, width) // _SAMPLES))
    sparse = _levels(photo[::step, ::step])
    low, high = np.percentile(sparse, [1, 99])
    if high - low <= _BLANK_SPREAD:
        return Coloured(0, 0, 0, 0, height, width)
    top = _border(_levels(photo[:, ::step]))
    bottom = height - _border(_levels(photo[::-1, ::step]))
    middle = photo[top:bottom:step]
    left = _border(_levels(middle).T)
    right = width - _border(_levels(middle[:, ::-1]).T)
    return Coloured(top, bottom, left, right, height, width)


def _border(lines: Float32[np.ndarray, "n m"]) -> int:
    """Returns how many lines at the start are a border."""
    tone = np.median(lines[0])
    near = (np.abs(lines - tone) <= _TOLERANCE).mean(axis=1)
    flat = near >= _FLAT_SHARE
    count = len(flat) if flat.all() else int(np.argmin(flat))
    if count in (0, len(lines)):
        return 0
    around = lines[count - 1 : count + _BLOCK + 1]  # JPEG blocks blur what is next to the picture
    changed = (np.abs(np.diff(around, axis=0)) > 2 * _TOLERANCE).mean(axis=1) >= _STEP_SHARE
    # Without a step it is a sky that drifts away from the tone of its first rows.
    return count + int(np.argmax(changed)) if changed.any() else 0


def _levels(pixels: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """Returns the pixels' grey in 8-bit levels."""
    values = pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return values / np.float32(257) if pixels.dtype == np.uint16 else values
