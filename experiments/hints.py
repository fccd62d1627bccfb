"""Shows what a few colour hints change: five photos from the dependencies, before and after, and figures.

python experiments/hints.py [--model semcolor-v1.1] [--points 3] [--output FILE.json] [--picture FILE.jpg]

The hints are those of a user who knows the photo and fixes the worst places first: where the network's colour is
farthest from the true one, in the mean over a small square, they give the true colour. The figures are mean distances
of ab to the original, CIE units.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import app, flags
from jaxtyping import UInt8
from scipy import ndimage

from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data import embedded
from semcolor_jax.evaluation.drawing import PhotoCell, draw_rows
from semcolor_jax.files import write_json
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import shrink
from semcolor_jax.inference.hints import Hint
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer
from semcolor_jax.photos.files import write_image

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "Released model, or work directory of a training.")
POINTS = flags.DEFINE_integer("points", 3, "Hints for each photo.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "experiments/results/hints.json", "The figures.")
PICTURE = flags.DEFINE_string("picture", "docs/images/hints.jpg", "The photos before, after, and as they are.")

PHOTOS = ("astronaut", "china", "coffee", "flower", "motorcycle")
SIDE = 240  # short side of the photos, in pixels
SQUARE = 15  # pixels
APART = 50  # pixels between hints, at least


def worst_places(off: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Returns x and y of the largest values, apart from each other."""
    off = ndimage.uniform_filter(off, SQUARE)
    y, x = np.indices(off.shape)
    places: list[tuple[int, int]] = []
    for _ in range(count):
        row, column = np.unravel_index(np.argmax(off), off.shape)
        places.append((int(column), int(row)))
        off = np.where(np.hypot(y - row, x - column) < APART, -1, off)
    return places


def marked(pixels: UInt8[np.ndarray, "h w 3"], hints: list[Hint]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the picture with a white ring around each hint."""
    pixels = pixels.copy()
    y, x = np.indices(pixels.shape[:2])
    for hint in hints:
        ((column, row),) = hint.points
        pixels[np.abs(np.hypot(y - row, x - column) - 5) < 1] = 255
    return pixels


def main(_: list[str]) -> None:
    """Colours the photos without and with hints, and writes the results."""
    colorizer = load_colorizer(MODEL.value)
    rows: list[dict[str, PhotoCell]] = [{}, {}, {}]
    figures = {}
    for sample in embedded.photos():
        if sample.name not in PHOTOS:
            continue
        original = shrink(sample.image, side=SIDE)
        true = rgb_to_lab(original, xp=np)
        result = colorizer.colorize(grey_copy(true[..., :1]))

        def off(pixels: np.ndarray, true: np.ndarray = true) -> np.ndarray:
            return np.linalg.norm((rgb_to_lab(pixels, xp=np) - true)[..., 1:], axis=-1)

        hints = []
        for x, y in worst_places(off(result.photo.pixels), POINTS.value):
            red, green, blue = (int(level) for level in original[y, x])
            hints.append(Hint(((float(x), float(y)),), (red, green, blue)))
        hinted = result.with_hints(hints)
        before, after = (float(off(r.photo.pixels).mean()) for r in (result, hinted))
        figures[sample.name] = {"before": round(before, 2), "after": round(after, 2)}
        cells = (
            (result.photo.pixels, f"the network: {before:.1f}"),
            (marked(hinted.photo.pixels, hints), f"with hints: {after:.1f}"),
            (original, "original"),
        )
        for row, (pixels, note) in zip(rows, cells, strict=True):
            row[sample.name] = PhotoCell(pixels, note)
    write_json(Path(OUTPUT.value), {"model": MODEL.value, "points": POINTS.value, "photos": figures})
    write_image(Path(PICTURE.value), draw_rows(list(rows[0]), rows))
    print(figures)


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
