"""Scores how well a network colours the validation photos, with equal weight for every data set."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.evaluation.evaluate import center_square
from semcolor_jax.inference.branches import branch_colors, branch_titles, grey_copy, recombine
from semcolor_jax.metrics import similarity
from semcolor_jax.metrics.error_histogram import ErrorHistogram
from semcolor_jax.models import Predictor
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL
from semcolor_jax.training.loop import Setup

CHUNK = 16
"""Photos per batch of the network."""


def score(setup: Setup, variables: dict[str, Any]) -> dict[str, Any]:
    """Returns for each branch, and for the mixture that colours by default, the means over data sets.

    "psnr_gain" is the mean PSNR (dB, pooled over channels) above the grey copy's, "ab_share" the mean ab distance
    relative to the grey copy's, "colour_share" the colourfulness relative to the originals'.

    "curves" holds for each of these, and for the grey copy, the share of all pixels whose ab is no further off than 0,
    1, 2, ... units (Fig. 12). "titles" says what reports call the branches; "labels", how many photos of each set have
    a scene and classes.

    Args:
      setup: its validation photos are scored: their central squares at `data.image_size`.
      variables: of the network.
    """
    config = setup.config
    samples = [center_square(sample, size=config.data.image_size) for sample in setup.validation]
    curves: dict[str, ErrorHistogram] = collections.defaultdict(ErrorHistogram)
    rows, titles = _rows(samples, Predictor(setup.phases[-1].model, variables), config.inference, curves)
    sets: dict[str, list[dict[str, dict[str, float]]]] = collections.defaultdict(list)
    labels: dict[str, dict[str, int]] = {}
    for sample, row in zip(samples, rows, strict=True):
        title = sample.name.partition("/")[0] if "/" in sample.name else setup.source.name
        sets[title].append(row)
        of_set = labels.setdefault(title, {"scenes": 0, "classes": 0})
        of_set["scenes"] += bool(sample.scene_prob.any())
        of_set["classes"] += bool((sample.labels != IGNORE_LABEL).any())
    names = [name for name in rows[0] if name not in ("grey", "truth")]
    by_set = {title: {name: _relative(of_set, name) for name in names} for title, of_set in sets.items()}
    means = {
        name: {
            metric: round(statistics.fmean(by_set[title][name][metric] for title in by_set), 4)
            for metric in ("psnr_gain", "ab_share", "colour_share")
        }
        for name in names
    }
    curve_of = {name: [round(float(x), 5) for x in histogram.curve] for name, histogram in curves.items()}
    return {
        "photos": len(samples),
        "labels": labels,
        "sets": by_set,
        "mean": means,
        "curves": curve_of,
        "titles": titles,
    }


def headline(scores: dict[str, Any]) -> str:
    """Returns the means in one line."""
    return "; ".join(
        f"{name} {row['psnr_gain']:+.3f} dB, ab {row['ab_share']:.3f}, colour {row['colour_share']:.2f}"
        for name, row in scores["mean"].items()
    )


def _rows(
    samples: Sequence[Sample], predictor: Predictor, inference: Any, curves: dict[str, ErrorHistogram]
) -> tuple[list[dict[str, dict[str, float]]], dict[str, str]]:
    """Returns the metrics of every photo and picture, and the branches' titles; adds to `curves` all errors."""
    rows, titles = [], {}
    for start in range(0, len(samples), CHUNK):
        chunk = samples[start : start + CHUNK]
        full = [*chunk, *[chunk[0]] * (CHUNK - len(chunk))]  # one shape, so one program
        images = np.stack([sample.image for sample in full])
        lightness = rgb_to_lab(images, xp=np)[..., :1]
        predictions = predictor(lightness)
        titles = branch_titles(predictions.ab_title)
        colors = {
            name: np.asarray(ab, np.float32)
            for name, ab in branch_colors(predictions, temperature=inference.temperature).items()
        }
        if {"soft", "reg"} <= colors.keys():
            colors["both"] = (1 - inference.share) * colors["reg"] + inference.share * colors["soft"]
        pictures = {
            name: np.stack([recombine(light, of_one) for light, of_one in zip(lightness, ab, strict=True)])
            for name, ab in colors.items()
        }
        pictures |= {"grey": np.stack([grey_copy(light) for light in lightness]), "truth": images}
        for name in pictures.keys() - {"truth"}:
            curves[name].add(similarity.ab_errors(images[: len(chunk)], pictures[name][: len(chunk)]).histogram)
        metrics = {name: _metrics(images, batch) for name, batch in pictures.items()}
        rows += [{name: _at(values, index) for name, values in metrics.items()} for index in range(len(chunk))]
    return rows, titles


def _metrics(truth: np.ndarray, pictures: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "psnr": similarity.psnr(truth, pictures).pooled,
        "ab_distance": similarity.ab_errors(truth, pictures).mean,
        "colourfulness": similarity.colourfulness(pictures).absolute,
    }


def _at(values: dict[str, np.ndarray], index: int) -> dict[str, float]:
    return {metric: float(value[index]) for metric, value in values.items()}


def _relative(rows: Sequence[dict[str, dict[str, float]]], name: str) -> dict[str, float]:
    def mean(picture: str, metric: str) -> float:
        return statistics.fmean(row[picture][metric] for row in rows)

    return {
        "psnr_gain": round(mean(name, "psnr") - mean("grey", "psnr"), 4),
        "ab_share": round(mean(name, "ab_distance") / max(mean("grey", "ab_distance"), 1e-6), 4),
        "colour_share": round(mean(name, "colourfulness") / max(mean("truth", "colourfulness"), 1e-6), 4),
        "photos": len(rows),
    }
