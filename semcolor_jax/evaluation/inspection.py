"""Draws a picture of the training data: one row per training photo, after all augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from semcolor_jax.color import AB_BINS, rgb_to_lab, soft_encode
from semcolor_jax.data.example import Batch
from semcolor_jax.evaluation.drawing import (
    Cell,
    EmptyCell,
    PhotoCell,
    SceneCell,
    class_map,
    decibels,
    draw_rows,
    scene_title,
)
from semcolor_jax.inference.branches import grey_copy, recombine
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL


def inspection_grid(
    batch: Batch, seen: Float32[np.ndarray, "b h w 1"], *, names: Sequence[str], sigma: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws a batch of at least one sample, one row each.

    Columns: photo; the lightness that the network sees; the labels over the grey photo, with the largest classes; the
    photo with the colours of its soft code, the mean of the five bins, which should look the same; scenes.

    Args:
      batch: from `training.preparation`.
      seen: the lightness, 0..100, which the damage of old prints may have changed.
      names: one per sample.
      sigma: the soft-encoding's (config.loss.encoding_sigma).
    """
    rows = [
        _row({key: batch[key][i] for key in batch}, seen[i], name=name, sigma=sigma) for i, name in enumerate(names)
    ]
    return draw_rows(list(rows[0]), rows)


def mean_of_soft_code(ab: Float32[np.ndarray, "h w 2"], *, sigma: float) -> Float32[np.ndarray, "h w 2"]:
    """Returns the colours that the soft code of `ab` represents: the weighted mean of the five bins."""
    code = soft_encode(ab, sigma=sigma)
    return np.sum(np.asarray(code.weights)[..., None] * AB_BINS[np.asarray(code.indices)], axis=-2)


def _row(sample: Batch, seen: Float32[np.ndarray, "h w 1"], *, name: str, sigma: float) -> dict[str, Cell]:
    image, labels = sample["image"], sample["labels"]
    lab = rgb_to_lab(image, xp=np)
    lightness, ab = lab[..., :1], lab[..., 1:]
    decoded = recombine(lightness, mean_of_soft_code(ab, sigma=sigma))
    unlabelled = np.all(labels == IGNORE_LABEL)
    return {
        "photo": PhotoCell(image, name),
        "network sees": PhotoCell(grey_copy(seen), ""),
        "labels": EmptyCell("no labels") if unlabelled else class_map(grey_copy(lightness), labels),
        "soft code, decoded": PhotoCell(decoded, decibels(image, decoded)),
        "scenes": _scenes(sample["scene_index"], sample["scene_prob"]),
    }


def _scenes(index: np.ndarray, probability: np.ndarray) -> Cell:
    known = [(scene_title(int(i)), float(p)) for i, p in zip(index, probability, strict=True) if p > 0]
    return SceneCell(known, truth=None, rank=None) if known else EmptyCell("no scene")
