"""Computes the Fréchet distance of two feature sets (Heusel et al. 2017): squared Wasserstein distance of Gaussians.

|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)). It is called FID only with the features of an Inception network.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float


class Statistics(NamedTuple):
    """Mean, unbiased covariance and number of photos of a set of features."""

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]
    photos: int


class RunningStatistics:
    """Accumulates features, batch by batch, in d x d numbers.

    Raises:
      ValueError: in `result`, if there are fewer than two.
    """

    def __init__(self) -> None:
        self._count = 0
        self._shift: np.ndarray | None = None
        self._waiting: list[np.ndarray] = []

    def add(self, features: Float[np.ndarray, "n d"]) -> None:
        """Adds features."""
        features = np.asarray(features, np.float64)
        if self._shift is None:
            # Relative to a point near the mean, sums of squares lose no digits.
            self._shift = features.mean(axis=0)
            self._sum = np.zeros_like(self._shift)
            self._squares = np.zeros((len(self._shift), len(self._shift)))
        self._count += len(features)
        self._waiting.append(features - self._shift)
        if sum(map(len, self._waiting)) >= 256:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            block = np.concatenate(self._waiting)
            self._sum += block.sum(axis=0)
            self._squares += block.T @ block
            self._waiting = []

    def result(self) -> Statistics:
        """Returns the statistics of everything added so far."""
        if self._shift is None or self._count < 2:
            raise ValueError("A covariance needs at least two photos.")
        self._flush()
        centre = self._sum / self._count
        covariance = (self._squares - self._count * np.outer(centre, centre)) / (self._count - 1)
        return Statistics(mean=self._shift + centre, covariance=covariance, photos=self._count)


def frechet_distance(one: Statistics, other: Statistics) -> float:
    """Returns the distance; never negative.

    The trace of (S_1 S_2)^(1/2) is the sum of the square roots of the eigenvalues of S_1^(1/2) S_2 S_1^(1/2), a
    symmetric matrix, so singular covariances, from fewer photos than features, need no special care.
    """
    root = _symmetric_root(one.covariance)
    eigenvalues = scipy.linalg.eigvalsh(root @ other.covariance @ root)
    cross = np.sum(np.sqrt(np.maximum(eigenvalues, 0)))
    means = np.sum(np.square(one.mean - other.mean))
    return float(max(0.0, means + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross))


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = scipy.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def encode_features(features: Float[np.ndarray, " d"]) -> str:
    """Returns one photo's features as text: base64 of little-endian float32."""
    return base64.b64encode(np.asarray(features, "<f4").tobytes()).decode()


def decode_features(encoded: str) -> Float[np.ndarray, " d"]:
    """Inverts `encode_features`; returns float32."""
    return np.frombuffer(base64.b64decode(encoded), "<f4")
