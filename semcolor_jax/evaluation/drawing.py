"""Draws a table of pictures: rows of cells, each a photo, a class map with legend, or scenes with bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from semcolor_jax.metrics.similarity import psnr
from semcolor_jax.taxonomy.label_sets import COCO_STUFF, IGNORE_LABEL, PLACES365, coco_stuff_palette

MARGIN = 20
GAP = 12
HEADER = 28
MIN_COLUMN = 160
SCENE_COLUMN = 232
LINE = 20
CHIP = 11

_PAPER, _INK, _MUTED, _RULE = (255, 255, 255), (28, 30, 33), (120, 125, 132), (226, 229, 233)
_BAR, _RIGHT, _NEAR, _WRONG = (66, 113, 174), (46, 139, 87), (214, 140, 20), (190, 60, 56)
_FONT = ImageFont.load_default(size=13)
_CAPTION_FONT = ImageFont.load_default(size=15)
_CLASSES_NAMED = 4
_BLEND = 0.6


@dataclasses.dataclass(frozen=True)
class PhotoCell:
    """A picture with a line of text beneath."""

    image: UInt8[np.ndarray, "h w 3"]
    note: str


@dataclasses.dataclass(frozen=True)
class ClassMapCell:
    """A picture tinted by class, with its largest classes (index, fraction of the pixels), largest first."""

    image: UInt8[np.ndarray, "h w 3"]
    classes: Sequence[tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class SceneCell:
    """Scenes (name, probability), likeliest first, and the true one if known, with its rank (0 = first)."""

    predicted: Sequence[tuple[str, float]]
    truth: str | None
    rank: int | None


@dataclasses.dataclass(frozen=True)
class EmptyCell:
    """Nothing to show, and why."""

    note: str


Cell = PhotoCell | ClassMapCell | SceneCell | EmptyCell


def class_map(grey: UInt8[np.ndarray, "h w 3"], classes: UInt8[np.ndarray, "h w"]) -> ClassMapCell:
    """Returns the picture tinted by class, except where it is ignored (255)."""
    counted = classes != IGNORE_LABEL
    tinted = grey.astype(np.float32)
    tinted[counted] += _BLEND * (coco_stuff_palette()[classes[counted]] - tinted[counted])
    index, pixels = np.unique(classes[counted], return_counts=True)
    largest = np.argsort(-pixels, kind="stable")[:_CLASSES_NAMED]
    shares = [(int(index[i]), float(pixels[i] / classes.size)) for i in largest]
    return ClassMapCell(np.rint(tinted).astype(np.uint8), shares)


def decibels(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> str:
    """Returns the prediction's pooled PSNR as a note."""
    if np.array_equal(truth, prediction):
        return "identical"
    return f"{psnr(truth[None], prediction[None]).pooled[0]:.1f} dB"


def scene_title(index: int) -> str:
    """Returns a readable name of a Places365 category."""
    return PLACES365[index].replace("_", " ")


def draw_rows(captions: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> UInt8[np.ndarray, "height width 3"]:
    """Draws one or more rows of cells, each cell under its caption; every row has a cell for each caption.

    Pictures less than half as wide as a column are drawn magnified.
    """
    rows = [{caption: _magnified(cell) for caption, cell in row.items()} for row in rows]
    widths = [max([MIN_COLUMN, *(_width(row[caption]) for row in rows)]) for caption in captions]
    pictures = [max(_height(cell) for cell in row.values()) for row in rows]
    footers = [
        LINE * max(_footer_lines(row[c], width) for c, width in zip(captions, widths, strict=True)) for row in rows
    ]
    lefts = MARGIN + np.cumsum([0, *(width + GAP for width in widths)])
    heights = [picture + footer + 2 * GAP for picture, footer in zip(pictures, footers, strict=True)]
    tops = MARGIN + HEADER + np.cumsum([0, *heights])
    canvas = Image.new("RGB", (int(lefts[-1]) - GAP + MARGIN, int(tops[-1]) - GAP + MARGIN), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for caption, left, width in zip(captions, lefts, widths, strict=False):
        draw.text((int(left) + width // 2, MARGIN), caption, _INK, _CAPTION_FONT, anchor="ma")
    for row, top, picture in zip(rows, tops, pictures, strict=False):
        draw.line([(MARGIN, int(top) - GAP // 2), (canvas.width - MARGIN, int(top) - GAP // 2)], _RULE)
        for caption, left, width in zip(captions, lefts, widths, strict=False):
            box = _Box(left=int(left), top=int(top) + GAP // 2, width=width, picture=picture)
            _draw_cell(canvas, draw, row[caption], box)
    return np.asarray(canvas)


def _magnified(cell: Cell) -> Cell:
    """Repeats the pixels of a small picture, a whole number of times, so that it fills its column."""
    if not isinstance(cell, PhotoCell | ClassMapCell):
        return cell
    times = max(1, MIN_COLUMN // cell.image.shape[1])
    return dataclasses.replace(cell, image=cell.image.repeat(times, axis=0).repeat(times, axis=1))


@dataclasses.dataclass(frozen=True)
class _Box:
    """A cell's position: a strip of `picture` pixels for the picture, with lines of text beneath."""

    left: int
    top: int
    width: int
    picture: int


def _draw_cell(canvas: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, box: _Box) -> None:
    match cell:
        case PhotoCell(image, note):
            _paste(canvas, image, box)
            text = _shorten(note, box.width)
            draw.text((box.left + box.width // 2, box.top + box.picture + 5), text, _MUTED, _FONT, anchor="ma")
        case ClassMapCell(image, classes):
            _paste(canvas, image, box)
            _draw_legend(draw, classes, box)
        case SceneCell():
            _draw_scenes(draw, cell, box)
        case EmptyCell(note):
            centre = box.left + box.width // 2, box.top + box.picture // 2
            draw.text(centre, note, _MUTED, _FONT, anchor="mm")


def _paste(canvas: Image.Image, image: np.ndarray, box: _Box) -> None:
    height, width = image.shape[:2]
    left = box.left + (box.width - width) // 2
    canvas.paste(Image.fromarray(image), (left, box.top + (box.picture - height) // 2))


def _draw_legend(draw: ImageDraw.ImageDraw, classes: Sequence[tuple[int, float]], box: _Box) -> None:
    palette = coco_stuff_palette()
    for line, entries in enumerate(_legend_lines(classes, box.width)):
        x = box.left + max(0, box.width - sum(map(_legend_width, entries)) + CHIP) / 2
        y = box.top + box.picture + 5 + line * LINE
        for index in entries:
            color = tuple(int(value) for value in palette[index])
            draw.rounded_rectangle([x, y + 2, x + CHIP, y + 2 + CHIP], radius=2, fill=color, outline=_MUTED)
            draw.text((x + CHIP + 5, y), _shorten(COCO_STUFF[index], box.width - CHIP - 5), _INK, _FONT)
            x += _legend_width(index)


def _draw_scenes(draw: ImageDraw.ImageDraw, cell: SceneCell, box: _Box) -> None:
    y = box.top
    for name, probability in cell.predicted:
        percent = f"{probability:.0%}" if probability >= 0.01 else "<1%"
        room = box.width - int(_FONT.getlength(percent)) - 8
        draw.text((box.left, y), _shorten(name, room), _INK, _FONT)
        draw.text((box.left + box.width, y), percent, _INK, _FONT, anchor="ra")
        bar = [box.left, y + LINE - 2, box.left + box.width, y + LINE + 2]
        draw.rounded_rectangle(bar, radius=2, fill=_RULE)
        bar[2] = box.left + max(4, round(probability * box.width))
        draw.rounded_rectangle(bar, radius=2, fill=_BAR)
        y += LINE + 14
    if cell.truth is not None and cell.rank is not None:
        color = _RIGHT if cell.rank == 0 else _NEAR if cell.rank < 5 else _WRONG
        draw.ellipse([box.left, y + 3, box.left + 9, y + 12], fill=color)
        draw.text((box.left + 16, y), _shorten(f"true: {cell.truth}", box.width - 16), _INK, _FONT)


def _width(cell: Cell) -> int:
    match cell:
        case PhotoCell(image) | ClassMapCell(image):
            return image.shape[1]
        case SceneCell():
            return SCENE_COLUMN
    return 0


def _height(cell: Cell) -> int:
    match cell:
        case PhotoCell(image) | ClassMapCell(image):
            return image.shape[0]
        case SceneCell(predicted, truth):
            return (len(predicted) + (truth is not None)) * (LINE + 14)
    return LINE


def _footer_lines(cell: Cell, width: int) -> int:
    return len(_legend_lines(cell.classes, width)) if isinstance(cell, ClassMapCell) else 1


def _legend_lines(classes: Sequence[tuple[int, float]], width: int) -> list[list[int]]:
    """Breaks the class indices into lines that fit the width, at least one per line."""
    lines: list[list[int]] = [[]]
    used = 0.0
    for index, _ in classes:
        if lines[-1] and used + _legend_width(index) > width:
            lines.append([])
            used = 0.0
        lines[-1].append(index)
        used += _legend_width(index)
    return lines


def _legend_width(index: int) -> float:
    return CHIP + 5 + _FONT.getlength(COCO_STUFF[index]) + 14


def _shorten(text: str, width: float) -> str:
    """Elides the middle of a text that is too long, because file names differ most at their ends."""
    kept = len(text)
    short = text
    while kept and _FONT.getlength(short) > width:
        kept -= 1
        short = text[: (kept + 1) // 2] + "..." + text[len(text) - kept // 2 :]
    return short
