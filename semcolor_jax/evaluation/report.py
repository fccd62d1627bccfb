"""Writes evaluation results as a file for programs and a table for people."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from pathlib import Path
from typing import Any

from semcolor_jax.evaluation import table_text
from semcolor_jax.evaluation.evaluate import EvaluationResult
from semcolor_jax.files import write_text
from semcolor_jax.inference.branches import branch_titles
from semcolor_jax.metrics.scenes import SceneScores
from semcolor_jax.metrics.segmentation import SegmentationScores
from semcolor_jax.taxonomy.label_sets import COCO_STUFF

_COLUMNS = {
    "psnr_channels": ("PSNR dB (channels)", "{:.2f}"),
    "psnr": ("PSNR dB (pooled)", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "ab_distance": ("ab distance", "{:.2f}"),
    "l2_ab_channels": ("L2ab (channels)", "{:.4f}"),
    "l2_ab": ("L2ab (pooled)", "{:.4f}"),
    "colourfulness": ("colourfulness", "{:.1f}"),
}


def write_json(path: Path, result: EvaluationResult) -> None:
    """Writes the result atomically; a score that is not finite becomes null, which every JSON reader accepts.

    Raises:
      UserError: the file cannot be written.
    """
    record = _finite(dataclasses.asdict(result))
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def format_table(result: EvaluationResult) -> str:
    """Returns the result as text: the colour table, then segmentation, scenes and the protocol."""
    header = [result.scope, *(title for title, _ in _COLUMNS.values())]
    rows = []
    titles = {"grey": "grey copy", **branch_titles(result.ab_title)}
    for row, title in titles.items():
        if row in result.branches:
            rows.append([title, *(_cell(result.branches[row], metric) for metric in _COLUMNS)])
    rows.append(["original photo", *_cells_of_truth(result)])
    lines = [table_text.plain(header, rows)]
    if result.segmentation is not None:
        lines += ["", *_segmentation_lines(result.segmentation, images=result.images)]
    if result.scenes is not None:
        lines += ["", *_scene_lines(result.scenes)]
    protocol = textwrap.wrap(f"Protocol: {result.scope}; {result.protocol}.", width=100, subsequent_indent="  ")
    return "\n".join([*lines, "", *protocol])


def _cell(metrics: dict[str, float], metric: str) -> str:
    return _COLUMNS[metric][1].format(metrics[metric])


def _cells_of_truth(result: EvaluationResult) -> list[str]:
    truth = {"colourfulness": result.truth_colourfulness}
    return [_cell(truth, metric) if metric in truth else "-" for metric in _COLUMNS]


def _segmentation_lines(scores: SegmentationScores, *, images: int) -> list[str]:
    return [
        f"Segmentation: mIoU {scores.mean_iou:.1%}, pixel accuracy {scores.pixel_accuracy:.1%} "
        f"({scores.classes} classes; {scores.images} of {images} images have labels)",
        f'  always "{COCO_STUFF[scores.majority_class]}": mIoU {scores.majority_mean_iou:.1%}, '
        f"pixel accuracy {scores.majority_pixel_accuracy:.1%}",
    ]


def _scene_lines(scores: SceneScores) -> list[str]:
    return [
        f"Scenes: top-1 {scores.top1:.1%}, top-5 {scores.top5:.1%} "
        f"({scores.images} of {scores.images + scores.unlabelled} images have labels)",
        f"  always the most frequent: top-1 {scores.majority_top1:.1%}, top-5 {scores.majority_top5:.1%}",
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
