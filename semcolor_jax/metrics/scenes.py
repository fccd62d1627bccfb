"""Computes the top-k accuracy of the scene branch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer


@dataclasses.dataclass(frozen=True)
class SceneResult:
    """One labelled image: its category, and how many categories the network put before it (0 = right)."""

    truth: int
    rank: int


@dataclasses.dataclass(frozen=True)
class SceneScores:
    """Fractions 0..1 of the labelled images; `majority_*` always answer the set's most frequent ones."""

    top1: float
    top5: float
    majority_top1: float
    majority_top5: float
    images: int
    unlabelled: int


def true_scene(index: Integer[np.ndarray, " k"], prob: Float[np.ndarray, " k"]) -> int | None:
    """Returns the most probable of a label's categories, or None if all probabilities are 0: no scene label."""
    return int(index[np.argmax(prob)]) if np.any(prob > 0) else None


def rank_of(truth: int, logits: Float[np.ndarray, " scenes"]) -> int:
    """Returns how many other categories do not score below the true one: ties and NaN count as misses."""
    return int(np.count_nonzero(~(logits < logits[truth]))) - 1


def score(results: Sequence[SceneResult], *, unlabelled: int) -> SceneScores:
    """Returns the scores of the labelled images; `unlabelled` is how many others were skipped.

    Raises:
      ValueError: there is no result.
    """
    if not results:
        raise ValueError("There is no labelled image to score.")
    ranks = np.array([result.rank for result in results])
    _, counts = np.unique([result.truth for result in results], return_counts=True)
    frequencies = np.sort(counts)[::-1] / len(results)
    return SceneScores(
        top1=float(np.mean(ranks < 1)),
        top5=float(np.mean(ranks < 5)),
        majority_top1=float(frequencies[0]),
        majority_top5=float(frequencies[:5].sum()),
        images=len(results),
        unlabelled=unlabelled,
    )
