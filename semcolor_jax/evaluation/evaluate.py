"""Scores a network on a stream of samples, one image at a time."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import Predict, branch_colors, grey_copy, recombine, segment
from semcolor_jax.metrics import scenes, segmentation, similarity
from semcolor_jax.models import Predictions
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL, NUM_SEG_CLASSES


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """Means over the images.

    `images` of the `available` ones were scored, as squares of `size` pixels a side (None: whole). `branches` maps
    "grey" (the same lightness without colour), "reg" and "soft" to their metrics by name, as `similarity.of_pair` has
    them. `segmentation` and `scenes` are None where the network has no such branch or no image has the label.
    `ab_title` is what reports call "reg".
    """

    protocol: str
    images: int
    available: int
    size: int | None
    branches: dict[str, dict[str, float]]
    truth_colourfulness: float
    segmentation: segmentation.SegmentationScores | None
    scenes: scenes.SceneScores | None
    ab_title: str = "regression"

    @property
    def scope(self) -> str:
        """Number and size of the scored images, such as "200 of 5,000 images, 224x224"."""
        count = f"{self.images:,}" if self.images == self.available else f"{self.images:,} of {self.available:,}"
        size = "full size" if self.size is None else f"{self.size}x{self.size}"
        return f"{count} image{'' if self.available == 1 else 's'}, {size}"

    @property
    def monitor(self) -> float:
        """Mean pooled PSNR (dB) of the default branch: the annealed mean, or else the network's ab."""
        return self.branches["soft" if "soft" in self.branches else "reg"]["psnr"]


def evaluate(
    predictor: Predict,
    samples: Iterable[Sample],
    *,
    temperature: float,
    size: int | None,
    available: int | None = None,
) -> EvaluationResult:
    """Returns the mean scores of every branch and of the grey copy.

    Each colour is recombined with the true lightness and rounded to uint8 before it is compared with the
    original.

    Args:
      predictor: lightness to predictions.
      samples: read once; only one is held at a time.
      temperature: the annealed mean's (eq. 14), in (0, 1].
      size: short side in pixels to which each photo is resized before its central square is scored; None
        scores the whole photo at full size.
      available: number of samples in the split, if `samples` are only some of them; for the reports.

    Raises:
      UserError: there are no samples.
    """
    tally = _Tally()
    for sample in samples:
        tally.add(sample if size is None else center_square(sample, size=size), predictor, temperature=temperature)
    if not tally.images:
        raise UserError("There are no samples to evaluate; check the data set's folder and split.")
    return tally.result(size=size, temperature=temperature, available=available)


def pick_shown(samples: Sequence[Sample], *, count: int, size: int) -> list[Sample]:
    """Returns at most `count` samples, spread over all, as `evaluate` scores them at `size`: for a sample grid."""
    shown = samples[:: max(1, len(samples) // count)][:count]
    return [center_square(sample, size=size) for sample in shown]


def center_square(sample: Sample, *, size: int) -> Sample:
    """Returns the sample with its short side resized to `size` pixels, cropped to its central square."""
    short = min(sample.image.shape[:2])
    height, width = (round(side * size / short) for side in sample.image.shape[:2])
    resized = resize(sample, height=height, width=width)
    top, left = (height - size) // 2, (width - size) // 2
    square = slice(top, top + size), slice(left, left + size)
    return dataclasses.replace(resized, image=resized.image[square], labels=resized.labels[square])


def resize(sample: Sample, *, height: int, width: int) -> Sample:
    """Returns the sample at another size: the photo bilinearly (antialiased), the labels to the nearest."""
    image, labels = Image.fromarray(sample.image), Image.fromarray(sample.labels)
    return dataclasses.replace(
        sample,
        image=np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)),
        labels=np.asarray(labels.resize((width, height), Image.Resampling.NEAREST)),
    )


class _Tally:
    """Running sums over the images."""

    def __init__(self) -> None:
        self.images = 0
        self._ab_title = "regression"
        self._sums: dict[str, dict[str, float]] = collections.defaultdict(lambda: collections.defaultdict(float))
        self._confusion = np.zeros((NUM_SEG_CLASSES, NUM_SEG_CLASSES), np.int64)
        self._segmented = 0
        self._scenes: list[scenes.SceneResult] = []
        self._without_scene = 0

    def add(self, sample: Sample, predictor: Predict, *, temperature: float) -> None:
        lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
        predictions = predictor(lightness[None])
        self.images += 1
        self._ab_title = predictions.ab_title
        self._sums["truth"]["colourfulness"] += _colourfulness(sample.image)
        self._add_photo("grey", truth=sample.image, prediction=grey_copy(lightness))
        for branch, ab in branch_colors(predictions, temperature=temperature).items():
            self._add_photo(branch, truth=sample.image, prediction=recombine(lightness, ab[0]))
        self._add_segmentation(sample, segment(predictions))
        self._add_scene(sample, predictions)

    def result(self, *, size: int | None, temperature: float, available: int | None) -> EvaluationResult:
        means = {
            row: {metric: total / self.images for metric, total in sums.items()} for row, sums in self._sums.items()
        }
        truth = means.pop("truth")
        return EvaluationResult(
            protocol=_protocol(size=size, temperature=temperature if "soft" in self._sums else None),
            images=self.images,
            available=available or self.images,
            size=size,
            branches=means,
            truth_colourfulness=truth["colourfulness"],
            segmentation=(segmentation.score(self._confusion, images=self._segmented) if self._segmented else None),
            scenes=scenes.score(self._scenes, unlabelled=self._without_scene) if self._scenes else None,
            ab_title=self._ab_title,
        )

    def _add_photo(self, row: str, *, truth: np.ndarray, prediction: np.ndarray) -> None:
        for metric, value in similarity.of_pair(truth, prediction).items():
            self._sums[row][metric] += value

    def _add_segmentation(self, sample: Sample, classes: np.ndarray | None) -> None:
        if classes is None or np.all(sample.labels == IGNORE_LABEL):
            return
        self._confusion += segmentation.confusion_matrix(sample.labels, classes[0])
        self._segmented += 1

    def _add_scene(self, sample: Sample, predictions: Predictions) -> None:
        if predictions.scene_logits is None:
            return
        truth = scenes.true_scene(sample.scene_index, sample.scene_prob)
        if truth is None:
            self._without_scene += 1
            return
        rank = scenes.rank_of(truth, np.asarray(predictions.scene_logits[0], np.float32))
        self._scenes.append(scenes.SceneResult(truth=truth, rank=rank))


def _colourfulness(image: np.ndarray) -> float:
    return float(similarity.colourfulness(image[None]).absolute[0])


def _protocol(*, size: int | None, temperature: float | None) -> str:
    area = (
        "whole photos at full size"
        if size is None
        else f"short side resized to {size} pixels (antialiased bilinear), central {size}x{size} square"
    )
    annealed = "" if temperature is None else f"annealed mean at T={temperature:g}; "
    return (
        f"{area}; true lightness, out-of-gamut colours reduced in chroma, uint8 RGB; {annealed}"
        "means over images, an identical image or channel counting "
        f"{similarity.PSNR_CEILING:.1f} dB; PSNR and L2ab (eq. 23): mean of those of the channels (the paper's form), "
        "and pooled over the channels (the field's); SSIM of Wang et al. 2004"
    )
