"""Shared code of `ablation.py` and `sweep.py`: short trainings on the release's photos, and their scores.

Every training sees the photos of `configs/release.py`'s mix at their first size, in an order given by the seed. A
finished one keeps its scores in its workdir and does not run again; a stopped one resumes.
"""

from __future__ import annotations

import dataclasses
import runpy
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from compared_methods import BRANCHES, titles_of
from ml_collections import ConfigDict

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.data.pipeline import eval_samples
from semcolor_jax.data.sources import make_source
from semcolor_jax.evaluation import table_text
from semcolor_jax.evaluation.evaluate import center_square
from semcolor_jax.files import read_json, write_json
from semcolor_jax.inference.branches import branch_colors, branch_titles, grey_copy, recombine
from semcolor_jax.inference.restore import load_predictor
from semcolor_jax.metrics.error_histogram import ErrorHistogram
from semcolor_jax.metrics.similarity import ab_errors, of_pair
from semcolor_jax.training import loop

RATE = 1e-3
SIZE = 128
"""Side in pixels of the scored squares."""
METRICS = ("psnr", "ssim", "ab_distance", "colourfulness", "ab_auc")
HEADINGS = ("PSNR (dB)", "SSIM", "ab distance", "colourfulness", "AUC")


@dataclasses.dataclass(frozen=True)
class Scores:
    """Means over the validation photos of one way to colour them, and the curve of Fig. 12."""

    values: dict[str, float]
    curve: list[float]


def short_config(data: str, *, steps: int, width: int, encoder: str, seed: int) -> ConfigDict:
    """Returns the release's config with its photos at their first size, cut to `steps` updates.

    Args:
      data: folder of the data sets.
      steps: updates; the rate falls to a tenth after three quarters of them.
      width: `config.model.width`.
      encoder: "vgg_like" begins with random weights and has an X_map of full resolution; "vgg16" is the release's,
        frozen with ImageNet's weights, with an X_map of half the resolution.
      seed: of weights and order of the photos.
    """
    config = runpy.run_path(str(Path(__file__).parents[1] / "configs" / "release.py"))["get_config"](data)
    config.seed = seed
    config.growth.epoch, config.data.prior_images = 0.0, 2000
    config.model.width = width
    if encoder == "vgg_like":
        config.model.encoder, config.model.frozen_blocks, config.model.output_stride = "vgg_like", 0, 1
    config.optimizer.encoder_rate = 1.0
    config.schedule.update(dict(kind="steps", steps_rate=RATE, steps_at=(steps * 3 // 4,), steps_total=steps))
    config.train.ema_decay = 0.0
    config.train.checkpoint_every_steps = config.train.eval_every_steps = steps
    config.train.eval_samples = 8
    return config


def begin(config: ConfigDict, *, photos: int) -> tuple[list[Sample], dict[str, Any]]:
    """Returns the central squares of this many validation photos, and a record with the settings and the grey copy."""
    samples = [center_square(sample, size=SIZE) for sample in eval_samples(make_source(config, "val"), limit=photos)]
    settings = {
        "steps": config.schedule.steps_total,
        "batch_size": config.data.batch_size,
        "crop": config.data.image_size,
        "width": config.model.width,
        "encoder": config.model.encoder,
        "photos": len(samples),
        "size": SIZE,
    }
    return samples, {"settings": settings, "grey copy": dataclasses.asdict(score(samples, lambda lightness: None))}


def score(samples: Sequence[Sample], color: Callable[[np.ndarray], np.ndarray | None]) -> Scores:
    """Scores colours over the samples.

    Args:
      samples: squares of one size.
      color: maps a sample's lightness (h, w, 1) to its ab (h, w, 2); None is no colour.
    """
    rows, histogram = [], ErrorHistogram()
    for sample in samples:
        lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
        ab = color(lightness)
        image = grey_copy(lightness) if ab is None else recombine(lightness, ab)
        rows.append({name: value for name, value in of_pair(sample.image, image).items() if name in METRICS})
        histogram.add(np.asarray(ab_errors(sample.image[None], image[None]).histogram))
    values = {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
    return Scores(values | {"ab_auc": histogram.area}, [round(float(x), 5) for x in histogram.curve])


def run(config: ConfigDict, workdir: Path, *, samples: Sequence[Sample]) -> dict[str, Any]:
    """Trains a network, or resumes it, and scores each of its colour branches."""
    finished = workdir / "scores.json"
    if finished.exists():
        return read_json(finished)
    start = time.perf_counter()
    loop.train(config, workdir)
    seconds = time.perf_counter() - start
    predictor, temperature = load_predictor(workdir), config.inference.temperature
    predictions = predictor(np.zeros((1, 32, 32, 1)))
    branches = branch_colors(predictions, temperature=temperature)
    titles = branch_titles(predictions.ab_title)
    result: dict[str, Any] = {"seed": config.seed, "seconds": round(seconds, 1), "titles": titles}
    for branch in branches:

        def color(lightness: np.ndarray, branch: str = branch) -> np.ndarray:
            return branch_colors(predictor(lightness[None]), temperature=temperature)[branch][0]

        result[branch] = dataclasses.asdict(score(samples, color))
    write_json(finished, result)
    return result


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns mean and standard deviation over the runs, and the mean curve, of every branch."""
    table: dict[str, Any] = {}
    for branch in (name for name in BRANCHES if name in runs[0]):
        values = [run[branch]["values"] for run in runs]
        table[branch] = {
            metric: {
                "mean": round(statistics.fmean(row[metric] for row in values), 4),
                "spread": round(statistics.stdev(row[metric] for row in values), 4) if len(values) > 1 else None,
            }
            for metric in METRICS
        }
        table[branch]["curve"] = np.mean([run[branch]["curve"] for run in runs], axis=0).round(5).tolist()
    return table


def table(record: dict[str, Any], rows: Iterable[tuple[str, dict[str, Any]]], *, first: str, note: str) -> str:
    """Returns a record in Markdown.

    Args:
      record: begun by `begin`.
      rows: title and `summary` with its "runs", in the order of the table; a line for each of its branches.
      first: heading of the titles.
      note: what the table's numbers are, after the sentence on the settings.
    """
    settings, grey = record["settings"], record["grey copy"]["values"]
    lines = [
        f"{settings['steps']} updates of {settings['batch_size']} crops of {settings['crop']} pixels, width "
        f"{settings['width']}, encoder {settings['encoder']}; {settings['photos']} validation photos, their central "
        f"square at {settings['size']} pixels. {note}",
        "",
    ]
    cells = [["grey copy", "", *(f"{grey[metric]:.4g}" for metric in METRICS), "", ""]]
    for title, scores in rows:
        seconds = statistics.median(run["seconds"] for run in scores["runs"])
        titles = titles_of(scores["runs"][0])
        for branch in (name for name in BRANCHES if name in scores):
            runs = [str(len(scores["runs"])), f"{seconds:.0f}"]
            cells.append([title, titles[branch], *_cells(scores[branch]), *runs])
    body = table_text.markdown([first, "colours by", *HEADINGS, "runs", "seconds a run"], cells)
    return "\n".join([*lines, body, ""])


def _cells(branch: dict[str, Any]) -> list[str]:
    """Returns the columns `HEADINGS` of a table for one branch of a `summary`."""
    values = [branch[metric] for metric in METRICS]
    return [f"{v['mean']:.4g}" + (f" ± {v['spread']:.2g}" if v["spread"] is not None else "") for v in values]
