"""Applies colour hints: points and strokes of a known colour, exact in place and spread up to the photo's edges.

The difference between the hints and the network's colours is spread at a small size (`spreading`) and added to the
photo at full size, following its own edges (`strips.Shift`). docs/hints.md has the JSON format and the limits.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from PIL import Image, ImageColor, ImageDraw

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json
from semcolor_jax.inference.flat import Coloured
from semcolor_jax.inference.strips import Pixels, Shift, merge, values_at

SOLVE_PIXELS = 2**16
"""The optimisation sees at most this many cells."""

_UNSEEN = 0.05  # CIE units: smaller differences count as none, so that distant pixels keep their exact bytes
_MOST_POINTS = 100_000


@dataclasses.dataclass(frozen=True)
class Hint:
    """A known colour, at a point or along a stroke.

    Attributes:
      points: (x, y) in pixels of the upright photo, from the left and from the top; several are joined by a stroke.
      color: sRGB, 0..255. Only hue and chroma count, since the lightness is the photo's.
      radius: half the stroke's width in pixels; 0 is a line of one pixel.
    """

    points: tuple[tuple[float, float], ...]
    color: tuple[int, int, int]
    radius: float = 0.0

    @property
    def ab(self) -> Float32[np.ndarray, " 2"]:
        """CIE units."""
        return rgb_to_lab(np.array(self.color, np.uint8), xp=np)[1:].astype(np.float32)


HintLike = Hint | Mapping[str, Any] | Sequence[Any]
"""A `Hint`, a mapping as in the JSON file, or (x, y, colour)."""


def read_hints(path: str | os.PathLike[str]) -> list[Hint]:
    """Returns the hints in a JSON file (docs/hints.md has the format).

    Raises:
      UserError: it cannot be read, is not JSON, or has an invalid hint.
    """
    return hints_of(read_json(Path(path).expanduser()), where=f" of {os.fspath(path)}")


def hints_of(values: Any, *, where: str = "") -> list[Hint]:
    """Returns hints from the forms that JSON or Python callers give: a list of `HintLike`, or {"hints": [...]}.

    Args:
      values: the hints.
      where: put after a hint's number in messages.

    Raises:
      UserError: a hint lacks its place or colour, or has invalid numbers.
    """
    if isinstance(values, Mapping):
        values = values.get("hints")
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        raise UserError(f'The hints{where} are no list: give [{{"x": 10, "y": 20, "color": "#a03020"}}, ...].')
    return [_hint(value, f"Hint {number}{where}") for number, value in enumerate(values, start=1)]


def check_hints(hints: Sequence[Hint], *, height: int, width: int) -> None:
    """Raises `UserError` for a hint outside a photo of that size in pixels."""
    for number, hint in enumerate(hints, start=1):
        for x, y in hint.points:
            if not (0 <= x < width and 0 <= y < height):
                raise UserError(
                    f"Hint {number} is at ({x:g}, {y:g}), outside the photo, which is {width} x {height} pixels: x "
                    "counts from the left and y from the top, from 0."
                )


def paint(
    photo: Pixels,
    ab: Float[np.ndarray, "h w 2"],
    hints: Sequence[Hint],
    *,
    coloured: Coloured | None = None,
    in_place: bool = False,
) -> Pixels:
    """Returns the photo's lightness with the colours `ab` and the hints'; without hints what `merge` returns.

    Pixels under a hint get its colour, with less chroma where that lightness takes it out of sRGB. Where hints overlap,
    the last one counts.

    Args:
      photo: its lightness is kept.
      ab: the network's colours, CIE units, in any size.
      hints: in pixels of the photo.
      coloured: as in `merge`; hints colour pixels outside it, too.
      in_place: overwrite `photo`.

    Raises:
      UserError: a hint lies outside the photo.
    """
    if not hints:
        return merge(photo, ab, coloured=coloured, in_place=in_place)
    check_hints(hints, height=photo.shape[0], width=photo.shape[1])
    marked = _marked(hints, height=photo.shape[0], width=photo.shape[1])
    exact = merge(photo[marked.rows, marked.columns][None], marked.ab[None])
    shift = _shift(photo, ab, marked, coloured)
    result = merge(photo, ab, shift=shift, coloured=coloured, in_place=in_place)
    result[marked.rows, marked.columns] = exact[0]
    return result


class _Marked(NamedTuple):
    """The pixels under hints, each once, and their new colours."""

    rows: Int64[np.ndarray, " n"]
    columns: Int64[np.ndarray, " n"]
    ab: Float32[np.ndarray, "n 2"]


def _shift(photo: Pixels, ab: Float[np.ndarray, "h w 2"], marked: _Marked, coloured: Coloured | None) -> Shift:
    """Returns the shift to add to the photo's colours."""
    from semcolor_jax.inference.spreading import spread  # here: scipy takes 0.2 s to import

    height, width = photo.shape[:2]
    lightness = _small_lightness(photo)
    rows, columns = lightness.shape
    part = Coloured.all_of(photo) if coloured is None else coloured
    in_rows, in_columns = part.masks(width)

    inside = (in_rows[marked.rows] * in_columns[marked.columns])[:, None]
    network = inside * values_at(ab, marked.rows, marked.columns, size=(height, width))
    cells, which = np.unique(
        marked.rows * rows // height * columns + marked.columns * columns // width, return_inverse=True
    )
    colors, differences = (_means(which, values, len(cells)) for values in (marked.ab, marked.ab - network))

    y, x = (grid.ravel() for grid in np.indices((rows, columns)))
    inside = (in_rows[(2 * y + 1) * height // (2 * rows)] * in_columns[(2 * x + 1) * width // (2 * columns)])[:, None]
    network = inside * values_at(ab, y, x, size=(rows, columns))
    shift = spread(lightness, cells, network=network, colors=colors, differences=differences)
    shift[np.abs(shift).max(axis=-1) < _UNSEEN] = 0
    return Shift(shift.astype(np.float32), lightness.astype(np.float32))


def _small_lightness(photo: Pixels) -> Float32[np.ndarray, "h w"]:
    height, width = photo.shape[:2]
    scale = min(1.0, math.sqrt(SOLVE_PIXELS / (height * width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if photo.dtype == np.uint16:
        photo = (photo >> 8).astype(np.uint8)
    small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    return rgb_to_lab(small, xp=np)[..., 0]


def _means(
    which: Int64[np.ndarray, " n"], values: Float32[np.ndarray, "n 2"], count: int
) -> Float64[np.ndarray, "count 2"]:
    """Returns the mean value of each group."""
    sums = [np.bincount(which, weights=values[:, channel], minlength=count) for channel in range(2)]
    return np.stack(sums, axis=-1) / np.bincount(which, minlength=count)[:, None]


def _marked(hints: Sequence[Hint], *, height: int, width: int) -> _Marked:
    places, colors = [], []
    for hint in hints:
        place = _pixels(hint, height=height, width=width)
        places.append(place)
        colors.append(np.broadcast_to(hint.ab, (len(place), 2)))
    # The last one of equal places counts.
    unique, last = np.unique(np.concatenate(places)[::-1], return_index=True)
    return _Marked(unique // width, unique % width, np.concatenate(colors)[::-1][last])


def _pixels(hint: Hint, *, height: int, width: int) -> Int64[np.ndarray, " n"]:
    """Returns the indices of the pixels under a hint, row x width + column."""
    points = [(math.floor(x), math.floor(y)) for x, y in hint.points]
    if hint.radius < 0.5 and len(points) == 1:
        ((x, y),) = points
        return np.array([y * width + x])
    reach = math.ceil(hint.radius) + 1
    left, top = (max(0, min(values) - reach) for values in zip(*points, strict=True))
    right, bottom = (
        min(size, max(values) + reach + 1)
        for values, size in zip(zip(*points, strict=True), (width, height), strict=True)
    )
    mask = Image.new("1", (right - left, bottom - top))
    draw = ImageDraw.Draw(mask)
    moved = [(x - left, y - top) for x, y in points]
    draw.line(moved, fill=1, width=round(2 * hint.radius) + 1)
    for x, y in moved:  # round ends and joints
        draw.ellipse((x - hint.radius, y - hint.radius, x + hint.radius, y + hint.radius), fill=1)
    rows, columns = np.nonzero(np.asarray(mask))
    return (rows + top) * width + columns + left


def _hint(value: Any, name: str) -> Hint:
    if isinstance(value, Hint):
        return value
    if isinstance(value, Mapping):
        unknown = set(value) - {"x", "y", "points", "color", "radius"}
        if unknown:
            raise UserError(
                f"{name} has {min(map(str, unknown))!r}, but a hint has x and y or points, color and radius."
            )
        points = value["points"] if "points" in value else [(value.get("x"), value.get("y"))]
        color, radius = value.get("color"), value.get("radius", 0)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 3:
        points, color, radius = [value[:2]], value[2], 0
    else:
        raise UserError(f"{name} is {value!r}, but must have x, y and color.")
    return Hint(_points(points, name), _color(color, name), _number(radius, f"The radius of {name}", least=0))


def _points(values: Any, name: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)) or not 1 <= len(values) <= _MOST_POINTS:
        raise UserError(f"{name} has no points: give x and y, or points as [[x, y], ...].")
    points = []
    for value in values:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or len(value) != 2:
            raise UserError(f"{name} has the point {value!r}, but a point is [x, y].")
        x, y = (_number(number, f"A coordinate of {name}") for number in value)
        points.append((x, y))
    return tuple(points)


def _number(value: Any, name: str, *, least: float = -math.inf) -> float:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < least:
        raise UserError(f"{name} is {value!r}, but must be a number{f' of at least {least:g}' if least == 0 else ''}.")
    return float(value)


def _color(value: Any, name: str) -> tuple[int, int, int]:
    if isinstance(value, str):
        try:
            return ImageColor.getrgb(value)[:3]
        except ValueError:
            pass
    elif isinstance(value, (Sequence, np.ndarray)) and len(value) == 3:
        parts = [int(part) for part in value if isinstance(part, (int, np.integer)) and not isinstance(part, bool)]
        if len(parts) == 3 and all(0 <= part <= 255 for part in parts):
            return parts[0], parts[1], parts[2]
    raise UserError(
        f'{name} has the color {value!r}, but a color is "#rrggbb", a name such as "navy", or [r, g, b] in 0..255.'
    )
