"""Computes the cumulative histogram of ab distances, and the area under it: Fig. 12 of the paper, Zhang et al. 2016.

The curve at t is the share of pixels whose colour is at most t CIE units from the truth, for t = 0, 1, ... 150. The
area under it, by the trapezoidal rule and divided by 150, is 1 for perfect colour.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from semcolor_jax.metrics.similarity import MAX_ERROR

THRESHOLDS: Int[np.ndarray, " n"] = np.arange(MAX_ERROR + 1)
"""In CIE units."""


@dataclasses.dataclass
class ErrorHistogram:
    """Counts over any number of images; every pixel of every image weighs the same.

    Attributes:
      counts: (MAX_ERROR + 2,) pixels whose distance, rounded up, is 0, 1, ... MAX_ERROR, or more.
      images: how many.
    """

    counts: Int[np.ndarray, " bins"] = dataclasses.field(default_factory=lambda: np.zeros(MAX_ERROR + 2, np.int64))
    images: int = 0

    def add(self, histograms: Int[np.ndarray, "B bins"]) -> None:
        """Adds images, as `AbErrors.histogram` of `similarity.ab_errors`."""
        self.counts = self.counts + np.sum(histograms, axis=0, dtype=np.int64)
        self.images += len(histograms)

    @property
    def curve(self) -> Float[np.ndarray, " n"]:
        """The share of pixels (0..1) within each of `THRESHOLDS`. Raises ValueError if there are no pixels."""
        return cumulative(self.counts)

    @property
    def area(self) -> float:
        """The area under the curve, 0..1. Raises ValueError if there are no pixels."""
        return float(area(self.counts))


def cumulative(counts: Int[np.ndarray, "*B bins"]) -> Float[np.ndarray, "*B n"]:
    """Returns the cumulative share of the pixels within each of `THRESHOLDS`, for each histogram.

    Raises:
      ValueError: a histogram is empty.
    """
    pixels = np.sum(counts, axis=-1, keepdims=True, dtype=np.float64)
    if not pixels.all():
        raise ValueError("A histogram of no pixels has no curve.")
    return np.cumsum(counts, axis=-1)[..., :-1] / pixels


def area(counts: Int[np.ndarray, "*B bins"]) -> Float[np.ndarray, "*B"]:
    """Returns the normalised area under the cumulative curve of each histogram. Raises ValueError as `cumulative`."""
    return np.trapezoid(cumulative(counts), THRESHOLDS, axis=-1) / MAX_ERROR
