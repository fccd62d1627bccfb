"""Means over photos, and how far they would move with other photos: percentile bootstrap intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
CONFIDENCE = 0.95
_CHUNK = 100


class Estimate(NamedTuple):
    """A mean with its interval, and over how many photos; all but `photos` are NaN if there are none."""

    value: float
    low: float
    high: float
    photos: int


def mean(values: Float[np.ndarray, " n"], *, absolute: bool = False, seed: int = 0) -> Estimate:
    """Returns the mean of the values that are not NaN, with its 95 % bootstrap interval.

    The photos are drawn anew with replacement, `RESAMPLES` times; the interval lies between the 2.5th and the 97.5th
    percentile of the means (Efron and Tibshirani 1993, chapter 13). With one photo it has no width.

    Args:
      values: one number per photo.
      absolute: estimate the absolute value of the mean instead.
      seed: of the draws; the same for all columns, so that methods are resampled alike.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    means = _resampled_means(values, seed=seed)
    centre = np.mean(values)
    if absolute:
        means, centre = np.abs(means), np.abs(centre)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(centre), float(low), float(high), len(values))


def _resampled_means(values: np.ndarray, *, seed: int) -> Float[np.ndarray, " resamples"]:
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, len(values), (_CHUNK, len(values))) for _ in range(RESAMPLES // _CHUNK))
    return np.concatenate([values[indices].mean(axis=1) for indices in draws])
