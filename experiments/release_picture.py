"""Draws the picture of README.md: photos from the dependencies, which the model has never seen, coloured by it.

python experiments/release_picture.py [--model semcolor-v1.1] [--output docs/images/semcolor-v1.1.jpg]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import app, flags

from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.embedded import photos
from semcolor_jax.evaluation.drawing import PhotoCell, draw_rows
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import shrink
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer
from semcolor_jax.photos.files import write_image

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "Released model, or work directory of a training.")
OUTPUT = flags.DEFINE_string("output", "docs/images/semcolor-v1.1.jpg", "The picture.")

SIDE = 150  # short side of the photos, in pixels


def main(_: list[str]) -> None:
    """Draws a column for every photo: without its colour, coloured, and as it is."""
    colorizer = load_colorizer(MODEL.value)
    rows: list[dict[str, PhotoCell]] = [{}, {}, {}]
    for sample in photos():
        photo = shrink(sample.image, side=SIDE)
        grey = grey_copy(rgb_to_lab(photo, xp=np)[..., :1])
        images = {"black and white": grey, "coloured": colorizer(grey).rgb, "original": photo}
        for row, (note, image) in zip(rows, images.items(), strict=True):
            row[sample.name] = PhotoCell(image, note)
    write_image(Path(OUTPUT.value), draw_rows(list(rows[0]), rows))


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
