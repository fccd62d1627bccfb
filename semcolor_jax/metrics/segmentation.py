"""Scores semantic segmentation, from a confusion matrix summed over the data set."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int64, Integer

from semcolor_jax.taxonomy.label_sets import NUM_SEG_CLASSES


@dataclasses.dataclass(frozen=True)
class SegmentationScores:
    """Fractions 0..1, over the labelled pixels of the set; `majority_*` score the constant best guess."""

    mean_iou: float
    pixel_accuracy: float
    majority_class: int
    majority_mean_iou: float
    majority_pixel_accuracy: float
    images: int
    classes: int


def confusion_matrix(
    labels: Integer[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "h w"],
    *,
    num_classes: int = NUM_SEG_CLASSES,
) -> Int64[np.ndarray, "classes classes"]:
    """Returns the pixel counts by true class (row) and predicted class (column).

    Pixels labelled 255, or with any other number that is no class, are ignored, as in the Dice loss.

    Raises:
      ValueError: the maps differ in size, or the prediction holds a class outside 0..num_classes-1.
    """
    if labels.shape != prediction.shape:
        raise ValueError(f"Labels {labels.shape} and prediction {prediction.shape} differ in size.")
    counted = (labels >= 0) & (labels < num_classes)
    true = labels[counted].astype(np.int64)
    predicted = prediction[counted].astype(np.int64)
    if predicted.size and not 0 <= predicted.min() <= predicted.max() < num_classes:
        raise ValueError(
            f"The prediction holds classes {predicted.min()}..{predicted.max()}, outside 0..{num_classes - 1}."
        )
    pairs = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes).astype(np.int64)


def mean_iou(confusion: Int64[np.ndarray, "classes classes"]) -> float:
    """Returns the mean intersection over union of the classes in the truth; NaN without any pixel.

    A class that is only predicted has no IoU of its own: its pixels lower the IoU of the classes they were
    taken from.
    """
    hits, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    present = true > 0
    if not present.any():
        return float("nan")
    return float(np.mean(hits[present] / (true + predicted - hits)[present]))


def pixel_accuracy(confusion: Int64[np.ndarray, "classes classes"]) -> float:
    """Returns the fraction of labelled pixels with the right class; NaN without any pixel."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def majority_baseline(
    confusion: Int64[np.ndarray, "classes classes"],
) -> Int64[np.ndarray, "classes classes"]:
    """Returns the confusion matrix of predicting the data set's most frequent true class for every pixel."""
    true = confusion.sum(axis=1)
    constant = np.zeros_like(confusion)
    constant[:, np.argmax(true)] = true
    return constant


def score(confusion: Int64[np.ndarray, "classes classes"], *, images: int) -> SegmentationScores:
    """Returns all scores of a confusion matrix summed over `images` labelled images."""
    true = confusion.sum(axis=1)
    majority = majority_baseline(confusion)
    return SegmentationScores(
        mean_iou=mean_iou(confusion),
        pixel_accuracy=pixel_accuracy(confusion),
        majority_class=int(np.argmax(true)),
        majority_mean_iou=mean_iou(majority),
        majority_pixel_accuracy=pixel_accuracy(majority),
        images=images,
        classes=int(np.count_nonzero(true)),
    )
