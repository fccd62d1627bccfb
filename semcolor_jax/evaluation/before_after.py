"""Shows what fine-tuning changed: held-out photos coloured with the initial weights and with the new ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.drawing import PhotoCell, decibels, draw_rows
from semcolor_jax.evaluation.table_text import plain
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import Colorizer, shrink
from semcolor_jax.metrics.similarity import of_pair

SIDE = 256
"""Photos are shrunk to a shorter side of this many pixels, and scored at that size."""

_METRICS = {"psnr": "PSNR, dB", "ab_distance": "ab distance", "colourfulness": "colourfulness"}


@dataclasses.dataclass(frozen=True)
class BeforeAfter:
    """Means over the photos, by row ("grey copy", "before", "after", "original") and metric; and some photos."""

    scores: dict[str, dict[str, float]]
    photos: int
    picture: UInt8[np.ndarray, "height width 3"]

    def table(self) -> str:
        """Returns the scores as a table for a terminal."""
        rows = [
            [name, *(f"{row[metric]:.2f}" if metric in row else "-" for metric in _METRICS)]
            for name, row in self.scores.items()
        ]
        return plain([f"{self.photos} held-out photos", *_METRICS.values()], rows)


def compare(before: Colorizer, after: Colorizer, samples: Sequence[Sample], *, shown: int = 6) -> BeforeAfter:
    """Colours each photo from its lightness by both, as `semcolor colorize` would.

    Args:
      before: with the weights from which the training started.
      after: with the new ones.
      samples: held-out photos.
      shown: how many of them, spread over all, the picture shows.

    Raises:
      UserError: there are no samples, or a network lacks a colour branch.
    """
    if not samples:
        raise UserError("There are no held-out photos to compare on; check the data set's folder.")
    drawn = set(np.linspace(0, len(samples) - 1, min(shown, len(samples))).round().astype(int).tolist())
    found: dict[str, list[dict[str, float]]] = {}
    rows = []
    for index, sample in enumerate(samples):
        photo = shrink(sample.image, side=SIDE)
        grey = grey_copy(rgb_to_lab(photo, xp=np)[..., :1])
        images = {"grey copy": grey, "before": before(grey).rgb, "after": after(grey).rgb, "original": photo}
        for name, image in images.items():
            found.setdefault(name, []).append(of_pair(photo, image))
        if index in drawn:
            cells = {name: PhotoCell(image, decibels(photo, image)) for name, image in images.items()}
            rows.append(cells | {"original": PhotoCell(photo, sample.name)})
    scores = {
        name: {metric: float(np.mean([each[metric] for each in values])) for metric in _METRICS}
        for name, values in found.items()
    }
    scores["original"] = {"colourfulness": scores["original"]["colourfulness"]}
    return BeforeAfter(scores, len(samples), draw_rows(list(rows[0]), rows))
