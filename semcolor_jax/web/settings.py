"""The page's settings for one photo, and the colours that result from them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.hints import Hint
from semcolor_jax.photos.formats import NAMES
from semcolor_jax.web.limits import Refused
from semcolor_jax.web.options import MOST_HINTS
from semcolor_jax.web.sessions import Kept

VARIANTS = 6
"""Colourings to choose from, including the default."""

MOST_SATURATION = 4.0

DOT = 0.004
"""Radius of a hint, as a share of the photo's longer side: a finger does not point at a single pixel."""

MOST_POINTS = 8000
"""Most points of all hints on one photo."""

MOST_LENGTH = 16.0
"""Longest total of all strokes on one photo, in its widths and heights: each pixel under a hint is listed."""


class Mark(NamedTuple):
    """A colour hint of the page.

    Attributes:
      points: shares 0..1 of the photo's width and height; several are joined by a stroke.
      color: sRGB, 0..255.
    """

    points: tuple[tuple[float, float], ...]
    color: tuple[int, int, int]

    @property
    def length(self) -> float:
        """In widths and heights of the photo."""
        return sum(math.dist(*pair) for pair in itertools.pairwise(self.points))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The controls of one photo.

    Attributes:
      share: weight of the annealed mean, 0..1; the rest is the regression's.
      temperature: the annealed mean's, in (0, 1].
      saturation: factor on the chroma, 0..4.
      variant: 0 for the default colours, or the number of another variant.
      hints: points and strokes with their colours.
      format: the download's; "" for the photo's own.
    """

    share: float
    temperature: float
    saturation: float
    variant: int = 0
    hints: tuple[Mark, ...] = ()
    format: str = ""

    @classmethod
    def of_json(cls, value: Any, usual: ColorChoice) -> Settings:
        """Returns the settings in a JSON object, or defaults for absent ones. Raises `Refused` (400) for nonsense."""
        if not isinstance(value, Mapping):
            raise Refused(400, "bad_settings", "The settings must be an object.")
        format = value.get("format", "")
        if format and format not in NAMES:
            raise Refused(400, "bad_settings", f"There is no format {str(format)[:20]!r}.")
        return cls(
            share=_number(value, "share", 0, 1, usual_share(usual)),
            temperature=_number(value, "temperature", float(np.finfo(np.float32).tiny), 1, usual.temperature),
            saturation=_number(value, "saturation", 0, MOST_SATURATION, usual.saturation),
            variant=int(_number(value, "variant", 0, VARIANTS - 1, 0)),
            hints=_hints(value.get("hints", [])),
            format=format,
        )

    def hints_on(self, height: int, width: int) -> list[Hint]:
        """Returns the hints for a photo, or a smaller copy, of this size."""
        radius = DOT * max(height, width)
        return [
            Hint(
                points=tuple((min(x * width, width - 1.0), min(y * height, height - 1.0)) for x, y in mark.points),
                color=mark.color,
                radius=radius,
            )
            for mark in self.hints
        ]


def usual_share(choice: ColorChoice) -> float:
    """Returns the share of the annealed mean in a colour choice."""
    return {"reg": 0.0, "soft": 1.0}.get(choice.branch, choice.share)


def mixed_ab(kept: Kept, settings: Settings, usual: ColorChoice) -> Float32[np.ndarray, "h w 2"]:
    """Returns the colours of a photo, CIE units: those of the branches, a variant's shift, and the saturation.

    Shifts are for the default saturation, and scale with it.
    """
    branches = kept.look.branches
    branch = "both" if len(branches) == 2 else branches[0]
    ab = kept.look.mix(ColorChoice(branch, temperature=settings.temperature, share=settings.share))
    if settings.variant:
        if kept.shifts is None or settings.variant > len(kept.shifts):
            raise Refused(400, "bad_settings", f"There is no variant {settings.variant} of this photo.")
        ab = ab + kept.shifts[settings.variant - 1] / np.float32(usual.saturation)
    return np.float32(settings.saturation) * ab


def _hints(values: Any) -> tuple[Mark, ...]:
    if not isinstance(values, list) or len(values) > MOST_HINTS:
        raise Refused(400, "bad_settings", f"The hints must be a list of at most {MOST_HINTS}.")
    hints = tuple(_mark(value) for value in values)
    if sum(len(mark.points) for mark in hints) > MOST_POINTS or sum(mark.length for mark in hints) > MOST_LENGTH:
        reason = f"The hints are too long: at most {MOST_POINTS} points and {MOST_LENGTH:g} times across the photo."
        raise Refused(400, "bad_settings", reason)
    return hints


def _mark(value: Any) -> Mark:
    wanted = Refused(
        400,
        "bad_settings",
        'A hint must be {"x": 0..1, "y": 0..1, "color": "#rrggbb"}, or have "points": [[x, y], ...].',
    )
    color = value.get("color") if isinstance(value, Mapping) else None
    if not isinstance(color, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise wanted
    points = value["points"] if "points" in value else [[value.get("x"), value.get("y")]]
    if not isinstance(points, list) or not points or not all(isinstance(one, list) and len(one) == 2 for one in points):
        raise wanted
    places = tuple((_share(x, "x"), _share(y, "y")) for x, y in points)
    return Mark(places, (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)))


def _share(found: Any, name: str) -> float:
    return _number({name: found}, name, 0, 1, math.nan)


def _number(value: Mapping[str, Any], name: str, low: float, high: float, usual: float) -> float:
    found = value.get(name, usual)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise Refused(400, "bad_settings", f"The setting {name} must be a number.")
    if not low <= found <= high:
        raise Refused(400, "bad_settings", f"The setting {name} is {found:g}, but must lie in {low:g}..{high:g}.")
    return float(found)
