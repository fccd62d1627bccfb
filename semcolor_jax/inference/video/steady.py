"""Keeps a film's colours steady: averages them over the last frames along the motion, and restarts where it is lost.

The motion is dense optical flow on lightness (DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse Search",
2016). A place is followed only if the flow from this frame to the last one and back returns to it, and if it has the
same lightness there: areas uncovered by a moving object have no past, so no ghost stays behind. If hardly any place can
be followed, the scene has changed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32

FRAMES = 12
"""Most frames that colours are averaged over."""

CUT = 0.35
"""Share of places that can be followed, below which the scene has changed."""

_RETURN = 0.3  # pixels by which the way there and back may miss
_RETURN_SHARE = 0.05  # of its length, in addition
_SAME = 4.0  # L by which a place may change on its way
_LIKE, _OTHER = 10.0, 25.0  # CIE units: a change of colour is believed from the first on, and fully from the second
_BLUR = 1.0  # pixels, before lightness is compared: grain is no change


@dataclasses.dataclass(frozen=True)
class Past:
    """What is kept of the previous frame: all that a resumed run needs.

    Attributes:
      lightness: 0..100.
      ab: its steady colours, CIE units.
      age: how many frames they average, at each place.
    """

    lightness: Float32[np.ndarray, "h w"]
    ab: Float32[np.ndarray, "h w 2"]
    age: Float32[np.ndarray, "h w"]


class Steady:
    """Makes the colours of successive frames steady.

    Args:
      frames: to average over at most; 1 leaves the colours as they are.
      past: of the previous frame; None for the first.
    """

    def __init__(self, frames: int = FRAMES, *, past: Past | None = None):
        self.frames, self.past = frames, past
        self.cuts = 0
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setFinestScale(0)  # to the pixel: ghosts come from motion boundaries

    def __call__(
        self, lightness: Float32[np.ndarray, "h w"], ab: Float32[np.ndarray, "h w 2"]
    ) -> Float32[np.ndarray, "h w 2"]:
        """Returns the steady colours of the next frame, CIE units.

        Args:
          lightness: of the frame, 0..100, in the size of the last one.
          ab: the network's colours, CIE units.
        """
        age = np.ones(lightness.shape, np.float32)
        past = self.past
        if past is not None and self.frames > 1 and past.lightness.shape == lightness.shape:
            level = _relit(past.lightness, lightness)
            sources = self._sources(level, lightness)
            followed = self._followed(level, lightness, *sources)
            if followed.mean() < CUT:
                self.cuts += 1
            else:
                before = _at(past.ab, sources[0])
                change = np.linalg.norm(ab - before, axis=-1)
                # What has another colour is another object, however well its lightness fits.
                least = np.clip((change - _LIKE) / (_OTHER - _LIKE), 1 / self.frames, 1)
                age = np.where(followed, np.minimum(_at(past.age, sources[0]) + 1, 1 / least), 1).astype(np.float32)
                # The mean of the frames so far, then an exponential one; at age 1 the past has no weight.
                ab = before + (ab - before) / age[..., None]
        self.past = Past(lightness, ab.astype(np.float32), age)
        return self.past.ab

    def _sources(
        self, before: Float32[np.ndarray, "h w"], now: Float32[np.ndarray, "h w"]
    ) -> tuple[Float32[np.ndarray, "h w 2"], Float32[np.ndarray, "h w 2"]]:
        """Returns, for each place, where it was in the previous frame, and where the flow leads from there, x and y."""
        if min(now.shape) < 16:  # too small for the flow's pyramid: nothing moves
            still = _grid(*now.shape)
            return still, still
        first, second = (np.rint(plane * 2.55).astype(np.uint8) for plane in (before, now))
        back = self._flow.calc(second, first, None)
        there = self._flow.calc(first, second, None)
        place = _grid(*now.shape) + back
        return place, place + _at(there, place)

    @staticmethod
    def _followed(
        before: Float32[np.ndarray, "h w"],
        now: Float32[np.ndarray, "h w"],
        place: Float32[np.ndarray, "h w 2"],
        returned: Float32[np.ndarray, "h w 2"],
    ) -> Bool[np.ndarray, "h w"]:
        """Returns which places were certainly in the previous frame."""
        height, width = now.shape
        grid = _grid(height, width)
        miss = np.linalg.norm(returned - grid, axis=-1)
        length = np.linalg.norm(place - grid, axis=-1)
        before, now = (cv2.GaussianBlur(plane, (0, 0), _BLUR) for plane in (before, now))
        inside = ((place >= -0.5) & (place <= np.array([width, height]) - 0.5)).all(axis=-1)
        same = np.abs(_at(before, place) - now) < _SAME
        followed = inside & same & (miss < _RETURN + _RETURN_SHARE * length)
        # Beside a motion boundary, interpolation would mix the colours of its two sides.
        return cv2.erode(followed.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def _relit(before: Float32[np.ndarray, "h w"], now: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Returns the previous frame in the light of this one: a flickering lamp scales L + 16, which is a cube root."""
    factor = np.median(now + 16) / np.median(before + 16)
    return np.clip((before + 16) * factor - 16, 0, 100).astype(np.float32)


def _grid(height: int, width: int) -> Float32[np.ndarray, "h w 2"]:
    """Returns the coordinates x and y of each place."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _at(plane: Float32[np.ndarray, "h w ..."], place: Float32[np.ndarray, "h w 2"]) -> Float32[np.ndarray, "h w ..."]:
    where: Any = None  # `place` has both coordinates
    return cv2.remap(plane, place, where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
