"""Draws a picture of the network's predictions: one row per photo, one column per output."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import Float, UInt8

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.drawing import (
    Cell,
    ClassMapCell,
    EmptyCell,
    PhotoCell,
    SceneCell,
    class_map,
    decibels,
    draw_rows,
    scene_title,
)
from semcolor_jax.evaluation.evaluate import resize
from semcolor_jax.inference.branches import Predict, branch_colors, branch_titles, grey_copy, recombine, segment
from semcolor_jax.metrics import scenes
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL

_SCENES_NAMED = 3


def sample_grid(
    predictor: Predict, samples: Iterable[Sample], *, temperature: float, side: int = 256
) -> UInt8[np.ndarray, "height width 3"]:
    """Draws the samples, one row each.

    Columns: grey input and each colour branch, with their PSNR; original; segmentation with its largest
    classes; true segmentation if any sample has labels; scene. Missing branches have no column.

    Args:
      predictor: lightness to predictions.
      samples: a handful; photos larger than `side` are shrunk to it before the network sees them.
      temperature: the annealed mean's (eq. 14), in (0, 1].
      side: longest side of a picture in the grid, in pixels.

    Raises:
      UserError: there are no samples.
    """
    rows = [_row(predictor, _shrink(sample, side=side), temperature=temperature) for sample in samples]
    if not rows:
        raise UserError("There are no samples to draw; check the data set's folder and split.")
    captions = list(rows[0])
    if not any(isinstance(row.get(_TRUE_CLASSES), ClassMapCell) for row in rows):
        captions = [caption for caption in captions if caption != _TRUE_CLASSES]
    return draw_rows(captions, rows)


_TRUE_CLASSES = "true segmentation"


def _row(predictor: Predict, sample: Sample, *, temperature: float) -> dict[str, Cell]:
    lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
    grey = grey_copy(lightness)
    predictions = predictor(lightness[None])
    titles = branch_titles(predictions.ab_title)
    row: dict[str, Cell] = {"grey input": PhotoCell(grey, decibels(sample.image, grey))}
    for branch, ab in branch_colors(predictions, temperature=temperature).items():
        photo = recombine(lightness, ab[0])
        setting = f" T={temperature:g}" if branch == "soft" else ""
        row[titles[branch] + setting] = PhotoCell(photo, decibels(sample.image, photo))
    row["original"] = PhotoCell(sample.image, sample.name)
    classes = segment(predictions)
    if classes is not None:
        row["segmentation"] = class_map(grey, classes[0])
        row[_TRUE_CLASSES] = (
            EmptyCell("no labels") if np.all(sample.labels == IGNORE_LABEL) else class_map(grey, sample.labels)
        )
    if predictions.scene_logits is not None:
        row["scene"] = _scene(np.asarray(predictions.scene_logits[0], np.float32), sample)
    return row


def _scene(logits: Float[np.ndarray, " scenes"], sample: Sample) -> SceneCell:
    probabilities: Float[np.ndarray, " scenes"] = np.asarray(jax.nn.softmax(logits))
    best = np.argsort(-logits, kind="stable")[:_SCENES_NAMED]
    truth = scenes.true_scene(sample.scene_index, sample.scene_prob)
    return SceneCell(
        predicted=[(scene_title(int(i)), float(probabilities[i])) for i in best],
        truth=None if truth is None else scene_title(truth),
        rank=None if truth is None else scenes.rank_of(truth, logits),
    )


def _shrink(sample: Sample, *, side: int) -> Sample:
    height, width = sample.image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return sample
    return resize(sample, height=max(1, round(height * scale)), width=max(1, round(width * scale)))
