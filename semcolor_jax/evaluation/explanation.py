"""Draws one picture that explains a photo's colours: what the network saw in it, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.color.bins import AB_BINS, STEP
from semcolor_jax.evaluation.drawing import MARGIN, Cell, PhotoCell, SceneCell, class_map, draw_rows
from semcolor_jax.inference.branches import grey_copy, recombine
from semcolor_jax.inference.probability import CONFIDENCE_RADIUS
from semcolor_jax.inference.result import Result
from semcolor_jax.taxonomy.label_sets import COCO_STUFF

_PLACES = 4
_SMALLEST_REGION = 0.01  # share of the picture, for a region to get a place
_CELL = 13  # pixels per colour bin in the plane
_PLANE_LIGHTNESS = 65.0  # lightness at which the bins are drawn: most of them are inside sRGB there
_PAPER, _INK, _FAINT = (255, 255, 255), (28, 30, 33), (214, 217, 222)
_RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float32)  # viridis
_FONT = ImageFont.load_default(size=13)


class Place(NamedTuple):
    """A pixel of the photo, and what it shows."""

    x: int
    y: int
    name: str


def explain(result: Result, *, side: int = 320) -> UInt8[np.ndarray, "height width 3"]:
    """Draws a result and what led to it.

    Above: the result, the segmentation with its largest classes, the confidence (`Result.confidence`), and the five
    likeliest scenes. Below: the network's probability of each of the 313 colours, at a place in each of up to four of
    the largest regions. Missing branches are left out.

    Args:
      result: from `Colorizer.colorize`.
      side: longest side of a picture, in pixels; smaller photos are not enlarged to it.
    """
    image = np.asarray(result.image.convert("RGB"))
    places = find_places(result)
    confidence = result.confidence()
    small = _shrunk(image, side)
    size = small.shape[:2]
    marked = _marked(small, places, scale=small.shape[1] / image.shape[1]) if confidence is not None else small
    row: dict[str, Cell] = {"result": PhotoCell(marked, f"{image.shape[1]} x {image.shape[0]}")}
    if result.segmentation is not None:
        classes = _nearest(result.segmentation.classes, size)
        row["segmentation"] = class_map(grey_copy(rgb_to_lab(small, xp=np)[..., :1]), classes)
    if confidence is not None:
        note = f"mean {confidence.mean():.0%}"
        row["confidence"] = PhotoCell(_heat(_nearest(confidence, size)), note)
    if result.scenes is not None:
        scenes = [(name.replace("_", " "), probability) for name, probability in result.scenes]
        row["scene"] = SceneCell(scenes, truth=None, rank=None)
    picture = draw_rows(list(row), [row])
    if confidence is None:
        return picture
    planes = {f"{number}: {place.name}": _plane_cell(result, place) for number, place in enumerate(places, 1)}
    lines = (
        f"confidence (dark 0%, yellow 100%): how likely the true colour is within {CONFIDENCE_RADIUS:g} CIE units",
        "discs: how likely each of the 313 colours is at a place, by area (a right, b up); cross: the one shown",
    )
    return _stacked([picture, *map(_line, lines), draw_rows(list(planes), [planes])])


def contact_sheet(
    results: Sequence[Result], *, side: int = 320, columns: int = 3
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws results, likeliest first, in rows, each with its mean confidence.

    Args:
      results: at least one, all of one photo.
      side: longest side of a picture, in pixels.
      columns: most pictures per row.
    """
    cells = []
    for result in results:
        confidence = result.confidence()
        note = "" if confidence is None else f"confidence {confidence.mean():.0%}"
        cells.append(PhotoCell(_shrunk(np.asarray(result.image.convert("RGB")), side), note))
    rows = []
    for first in range(0, len(cells), columns):
        row = {f"{first + i}": cell for i, cell in enumerate(cells[first : first + columns], 1)}
        rows.append(draw_rows(list(row), [row]))
    return _stacked(rows)


def find_places(result: Result) -> list[Place]:
    """Returns the innermost pixel of each of the largest classes, largest first; without classes, of each quarter."""
    height, width = result.photo.pixels.shape[:2]
    if result.segmentation is None:
        quarters = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
        return [Place(x, y, f"({x}, {y})") for x, y in quarters]
    classes, places = result.segmentation.classes, []
    counts = np.bincount(classes.ravel())
    for index in np.argsort(-counts, kind="stable")[:_PLACES]:
        if counts[index] >= _SMALLEST_REGION * classes.size:
            row, column = _innermost(classes == index)
            x, y = (2 * column + 1) * width // (2 * classes.shape[1]), (2 * row + 1) * height // (2 * classes.shape[0])
            places.append(Place(x, y, COCO_STUFF[index]))
    return places


def _innermost(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Returns the row and column farthest from what is outside the mask or the picture."""
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1)))
    row, column = np.unravel_index(np.argmax(depth), depth.shape)
    return int(row) - 1, int(column) - 1


def _plane_cell(result: Result, place: Place) -> PhotoCell:
    distribution = result.distribution(place.x, place.y)
    shown = result.color_at(place.x, place.y)
    peak = AB_BINS[np.argmax(distribution.probabilities)]
    note = f"likeliest a {peak[0]:.0f}, b {peak[1]:.0f}: {distribution.probabilities.max():.0%}"
    return PhotoCell(_draw_plane(distribution.probabilities, shown), note)


def _draw_plane(
    probabilities: Float[np.ndarray, " 313"], shown: Float[np.ndarray, " 2"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws each bin as a disc, at least a dot, with an area like its probability, and a cross at the colour shown."""
    low, high = AB_BINS.min(axis=0), AB_BINS.max(axis=0)
    columns, rows = ((high - low) / STEP + 1).astype(int)
    canvas = Image.new("RGB", (int(columns) * _CELL, int(rows) * _CELL), _PAPER)
    draw = ImageDraw.Draw(canvas)

    def centre(ab: Float[np.ndarray, " 2"]) -> tuple[float, float]:
        return float((ab[0] - low[0]) / STEP + 0.5) * _CELL, float((high[1] - ab[1]) / STEP + 0.5) * _CELL

    zero = centre(np.zeros(2))
    draw.line([(zero[0], 0), (zero[0], canvas.height)], _FAINT)
    draw.line([(0, zero[1]), (canvas.width, zero[1])], _FAINT)
    fills = recombine(np.full((1, len(AB_BINS), 1), _PLANE_LIGHTNESS, np.float32), AB_BINS[None])[0]
    radii = np.maximum(1.0, 0.6 * _CELL * np.sqrt(probabilities / probabilities.max()))
    for index in np.argsort(-radii, kind="stable"):  # small ones on top
        fill = tuple(int(value) for value in fills[index])
        draw.circle(centre(AB_BINS[index]), float(radii[index]), fill=fill)
    x, y = centre(np.clip(shown, low, high))
    for color, reach, thickness in ((_PAPER, 9, 6), (_INK, 7, 2)):
        draw.line([(x - reach, y), (x + reach, y)], color, thickness)
        draw.line([(x, y - reach), (x, y + reach)], color, thickness)
    return np.asarray(canvas)


def _heat(share: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    stops = np.linspace(0, 1, len(_RAMP))
    return np.stack([np.interp(share, stops, channel) for channel in _RAMP.T], axis=-1).round().astype(np.uint8)


def _marked(image: UInt8[np.ndarray, "h w 3"], places: list[Place], *, scale: float) -> UInt8[np.ndarray, "h w 3"]:
    """Draws the number of each place in a disc around it."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for number, place in enumerate(places, 1):
        centre = (place.x + 0.5) * scale, (place.y + 0.5) * scale
        draw.circle(centre, 9, fill=_PAPER, outline=_INK)
        draw.text(centre, str(number), _INK, _FONT, anchor="mm")
    return np.asarray(canvas)


def _shrunk(image: UInt8[np.ndarray, "H W 3"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    scale = min(1.0, side / max(image.shape[:2]))
    width, height = (max(1, round(length * scale)) for length in (image.shape[1], image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _nearest(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a plane (h, w) by nearest neighbours."""
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, plane.shape, strict=True))
    return plane[rows[:, None], columns]


def _line(text: str) -> UInt8[np.ndarray, "height width 3"]:
    canvas = Image.new("RGB", (int(_FONT.getlength(text)) + 2 * MARGIN, 24), _PAPER)
    ImageDraw.Draw(canvas).text((MARGIN, 4), text, _INK, _FONT)
    return np.asarray(canvas)


def _stacked(pictures: list[UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "height width 3"]:
    """Stacks pictures vertically, white where one is narrower."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures])
