"""A picture of what the network does: one row per photo, one column per output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import IGNORE_LABEL, Sample
from semcolor_jax.data.taxonomy import COCO_STUFF, PLACES365, coco_stuff_palette
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import scenes
from semcolor_jax.evaluation.branches import BRANCHES, branch_colors, grey_copy, recombine
from semcolor_jax.evaluation.evaluate import Predict, resize, segment
from semcolor_jax.evaluation.similarity import psnr

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
_SCENES_NAMED = 3
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
    """The likeliest scenes (name, probability), and the true one if known with its rank (0 = first)."""

    predicted: Sequence[tuple[str, float]]
    truth: str | None
    rank: int | None


@dataclasses.dataclass(frozen=True)
class EmptyCell:
    """Nothing to show, and why."""

    note: str


Cell = PhotoCell | ClassMapCell | SceneCell | EmptyCell


def sample_grid(
    predictor: Predict, samples: Iterable[Sample], *, temperature: float, side: int = 256
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws the samples, one row each.

    Columns: grey input and each colour branch, with their PSNR; original; segmentation with its largest
    classes; true segmentation if any sample has labels; scene. What the network lacks has no column.

    Args:
      predictor: lightness to predictions.
      samples: a handful; photos larger than `side` are shrunk to it before the network sees them.
      temperature: of the annealed mean (eq. 14), in (0, 1].
      side: longest side of a picture in the grid, in pixels.

    Raises:
      UserError: there are no samples.
    """
    rows = [_row(predictor, _shrink(sample, side=side), temperature=temperature) for sample in samples]
    if not rows:
        raise UserError("There are no samples to draw; check the data set's folder and split.")
    captions = list(rows[0])
    if not any(isinstance(row.get(_TRUE_CLASSES), ClassMapCell) for row in rows):
        captions = [caption for caption in captions if caption != _TRUE_CLASSES]
    return _draw(captions, rows)


_TRUE_CLASSES = "true segmentation"


def _row(predictor: Predict, sample: Sample, *, temperature: float) -> dict[str, Cell]:
    lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
    grey = grey_copy(lightness)
    predictions = predictor(lightness[None])
    row: dict[str, Cell] = {"grey input": PhotoCell(grey, _decibels(sample.image, grey))}
    for branch, ab in branch_colors(predictions, temperature=temperature).items():
        photo = recombine(lightness, ab[0])
        setting = f" T={temperature:g}" if branch == "soft" else ""
        row[BRANCHES[branch] + setting] = PhotoCell(photo, _decibels(sample.image, photo))
    row["original"] = PhotoCell(sample.image, sample.name)
    classes = segment(predictions)
    if classes is not None:
        row["segmentation"] = _class_map(grey, classes[0])
        row[_TRUE_CLASSES] = (
            EmptyCell("no labels") if np.all(sample.labels == IGNORE_LABEL) else _class_map(grey, sample.labels)
        )
    if predictions.scene_logits is not None:
        row["scene"] = _scene(np.asarray(predictions.scene_logits[0], np.float32), sample)
    return row


def _decibels(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> str:
    value = psnr(truth, prediction)
    return f"{value:.1f} dB" if np.isfinite(value) else "identical"


def _class_map(grey: UInt8[np.ndarray, "h w 3"], classes: UInt8[np.ndarray, "h w"]) -> ClassMapCell:
    counted = classes != IGNORE_LABEL
    tinted = grey.astype(np.float32)
    tinted[counted] += _BLEND * (coco_stuff_palette()[classes[counted]] - tinted[counted])
    index, pixels = np.unique(classes[counted], return_counts=True)
    largest = np.argsort(-pixels, kind="stable")[:_CLASSES_NAMED]
    shares = [(int(index[i]), float(pixels[i] / classes.size)) for i in largest]
    return ClassMapCell(np.rint(tinted).astype(np.uint8), shares)


def _scene(logits: Float[np.ndarray, " scenes"], sample: Sample) -> SceneCell:
    probabilities: Float[np.ndarray, " scenes"] = np.asarray(jax.nn.softmax(logits))
    best = np.argsort(-logits, kind="stable")[:_SCENES_NAMED]
    truth = scenes.true_scene(sample)
    return SceneCell(
        predicted=[(_title(PLACES365[i]), float(probabilities[i])) for i in best],
        truth=None if truth is None else _title(PLACES365[truth]),
        rank=None if truth is None else scenes.rank_of(truth, logits),
    )


def _shrink(sample: Sample, *, side: int) -> Sample:
    height, width = sample.image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return sample
    return resize(sample, height=max(1, round(height * scale)), width=max(1, round(width * scale)))


# ---------------------------------------------------------------------------------------------------- drawing


def _draw(captions: Sequence[str], rows: Sequence[dict[str, Cell]]) -> UInt8[np.ndarray, "height width 3"]:
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


@dataclasses.dataclass(frozen=True)
class _Box:
    """Where a cell lies: a strip of `picture` pixels for the picture, the lines of text beneath."""

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
        case SceneCell():
            return (_SCENES_NAMED + 1) * (LINE + 14)
    return LINE


def _footer_lines(cell: Cell, width: int) -> int:
    return len(_legend_lines(cell.classes, width)) if isinstance(cell, ClassMapCell) else 1


def _legend_lines(classes: Sequence[tuple[int, float]], width: int) -> list[list[int]]:
    """Breaks the class indices into lines that fit the width, at least one a line."""
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
    if _FONT.getlength(text) <= width:
        return text
    while text and _FONT.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _title(name: str) -> str:
    return name.replace("_", " ")
