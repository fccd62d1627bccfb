"""Draws contact sheets of a folder's photos: coloured, in other plausible colours, and explained.

python experiments/photo_sheet.py --photos DIR --output SHEETS [--limit 10] [--model semcolor-v1.1]

`colours_1.jpg` and so on have a row for each photo: without its colour, coloured, and the other variants of `semcolor
colorize --variants`. `explain_1.jpg` and so on have the pictures of `--explain`, stacked vertically.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from absl import app, flags
from jaxtyping import UInt8

from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.drawing import PhotoCell, draw_rows
from semcolor_jax.evaluation.explanation import explain
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import shrink
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer
from semcolor_jax.inference.result import Result
from semcolor_jax.photos.files import list_images, read_photo, write_image

PHOTOS = flags.DEFINE_string("photos", None, "Folder of photos.", required=True)
OUTPUT = flags.DEFINE_string("output", "runs/sheets", "Folder of the sheets.")
MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "Released model, or work directory of a training.")
LIMIT = flags.DEFINE_integer("limit", 10, "Photos on the sheets at most, the first by name.")
VARIANTS = flags.DEFINE_integer("variants", 4, "Versions of each photo.")

SIDE = 220
"""Short side of the photos, in pixels."""

_ROWS, _EXPLAINED = 5, 2  # photos on a sheet

T = TypeVar("T")
Picture = UInt8[np.ndarray, "height width 3"]


def main(_: list[str]) -> None:
    """Draws the sheets."""
    files = list_images(PHOTOS.value)[: LIMIT.value]
    if not files:
        raise UserError(f"The folder {PHOTOS.value} holds no photos.")
    output = Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    colorizer = load_colorizer(MODEL.value)
    rows, explained = [], []
    for file in files:
        photo = shrink(read_photo(file), side=SIDE)
        grey = grey_copy(rgb_to_lab(photo, xp=np)[..., :1])
        result = colorizer.colorize(grey)
        rows.append(_row(file.stem, grey, result))
        explained.append(explain(result, side=SIDE))
    for number, chunk in enumerate(_chunks(rows, _ROWS), 1):
        write_image(output / f"colours_{number}.jpg", draw_rows(list(chunk[0]), chunk))
    for number, chunk in enumerate(_chunks(explained, _EXPLAINED), 1):
        write_image(output / f"explain_{number}.jpg", _stacked(chunk))


def _row(name: str, grey: Picture, result: Result) -> dict[str, PhotoCell]:
    cells = {"black and white": PhotoCell(grey, name), "coloured": PhotoCell(result.photo.pixels, "")}
    for number, variant in enumerate(result.variants(VARIANTS.value), 1):
        confidence = variant.confidence()
        note = "" if confidence is None else f"confidence {confidence.mean():.0%}"
        cells[f"variant {number}"] = PhotoCell(variant.photo.pixels, note)
    return cells


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _stacked(pictures: Sequence[Picture]) -> Picture:
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded)


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
