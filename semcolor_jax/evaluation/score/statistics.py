"""Computes means over photos with percentile bootstrap intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap

RESAMPLES = 2000
CONFIDENCE = 0.95
_BATCH = 100  # resamples in memory at a time


class Estimate(NamedTuple):
    """A mean with its interval and number of photos; all but `photos` are NaN if there are none."""

    value: float
    low: float
    high: float
    photos: int


def mean(values: Float[np.ndarray, " n"], *, absolute: bool = False, seed: int = 0) -> Estimate:
    """Returns the mean of the values that are not NaN, with its 95 % bootstrap interval.

    The photos are resampled with replacement, `RESAMPLES` times; the interval lies between the 2.5th and the 97.5th
    percentile of the means (Efron and Tibshirani 1993, chapter 13). With one photo it has no width.

    Args:
      values: one number per photo.
      absolute: estimate the absolute value of the mean instead.
      seed: for the draws; the same for all columns, so that methods are resampled alike.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)

    def statistic(sample: np.ndarray, axis: int = -1) -> np.ndarray:
        means = np.mean(sample, axis=axis)
        return np.abs(means) if absolute else means

    centre = float(statistic(values))
    if len(values) == 1:
        return Estimate(centre, centre, centre, 1)
    interval = bootstrap(
        (values,),
        statistic,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(centre, float(interval.low), float(interval.high), len(values))
