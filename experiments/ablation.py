"""Do scene and segmentation help? The paper's ablations and comparison methods, trained alike and compared.

python experiments/ablation.py --data DATA --workdir runs/ablation [--steps 2000] [--seeds 3] [--width 16]

All six networks see the same photos of `configs/release.py`'s mix in the same order, for as many steps, with Adam at
the same rates and random first weights of the same seeds (`--encoder vgg16` begins the three ablations with ImageNet's
frozen encoder instead; the comparison methods have no such encoder and are left out then). They are evaluated on the
same validation photos. `experiments/results/ablation.json` has every run, mean and spread over the seeds, and seconds
per run; `ablation.md` beside it the table, and `ablation.png` the cumulative histograms of ab distances (Fig. 12). A
stopped run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import itertools
import runpy
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict
from paper_report.curves import draw_curves

from semcolor_jax import cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.data.photos import write_image
from semcolor_jax.data.pipeline import eval_samples
from semcolor_jax.data.sources import make_source
from semcolor_jax.evaluation import similarity
from semcolor_jax.evaluation.branches import branch_colors, grey_copy, recombine
from semcolor_jax.evaluation.error_histogram import ErrorHistogram
from semcolor_jax.evaluation.evaluate import center_square
from semcolor_jax.evaluation.similarity_batch import ab_errors
from semcolor_jax.files import read_json, write_json
from semcolor_jax.inference.restore import load_predictor
from semcolor_jax.training import loop

DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
STEPS = flags.DEFINE_integer("steps", 2000, "Updates of each run.", lower_bound=10)
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each method.", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", 16, "config.model.width of all networks.", lower_bound=1)
PHOTOS = flags.DEFINE_integer("photos", 400, "Validation photos.", lower_bound=1)
ENCODER = flags.DEFINE_enum("encoder", "vgg_like", ["vgg_like", "vgg16"], "Of the ablations.")
OUTPUT = flags.DEFINE_string("output", "experiments/results/ablation.json", "File of the results.")

RATE = 1e-3
ABLATIONS = {"RegSoft": "regsoft", "ClasRegSoft": "clasregsoft", "SegClasRegSoft": "segclasregsoft"}
COMPARISONS = {"Zhang 2016": "zhang2016", "Larsson 2016": "larsson2016", "Iizuka 2016": "iizuka2016"}
METRICS = ("psnr", "ssim", "ab_distance", "colourfulness")
HEADINGS = ("PSNR (dB)", "SSIM", "ab distance", "colourfulness", "AUC")
BRANCHES = {"soft": "annealed mean", "reg": "regression"}


@dataclasses.dataclass(frozen=True)
class Scores:
    """Means over the validation photos of one way to colour them, and the curve of Fig. 12."""

    values: dict[str, float]
    curve: list[float]


def release_config(data: str) -> ConfigDict:
    """Returns the config of `configs/release.py`."""
    return runpy.run_path(str(Path(__file__).parents[1] / "configs" / "release.py"))["get_config"](data)


def config_of(method: str, *, seed: int) -> ConfigDict:
    """Returns the training of one method: the release's photos at their first size, everything else alike."""
    config = release_config(DATA.value)
    config.name, config.seed = method, seed
    config.growth.epoch, config.data.prior_images = 0.0, 2000
    config.model.width, config.model.output_stride = WIDTH.value, 1
    config.model.encoder, config.model.frozen_blocks = "vgg_like", 0
    config.optimizer.encoder_rate = 1.0
    config.schedule.update(
        dict(kind="steps", steps_rate=RATE, steps_at=(STEPS.value * 3 // 4,), steps_total=STEPS.value)
    )
    config.train.ema_decay = 0.0
    config.train.checkpoint_every_steps = config.train.eval_every_steps = STEPS.value
    config.train.eval_samples = 8
    if method in ABLATIONS:
        config.model.variant = ABLATIONS[method]
        if ENCODER.value == "vgg16":
            config.model.encoder, config.model.frozen_blocks = "vgg16", 5
    else:
        config.model.method = COMPARISONS[method]
        config.model.global_side = 64
        config.loss.reg = 1.0
        config.loss.scene = 1 / 300 if config.model.method == "iizuka2016" else config.loss.scene
    return config


def score(samples: Sequence[Sample], color: Any) -> Scores:
    """Scores colours over the samples.

    Args:
      samples: squares of one size.
      color: from a sample's lightness (h, w, 1) to its ab (h, w, 2).
    """
    rows, histogram = [], ErrorHistogram()
    for sample in samples:
        lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
        ab = color(lightness)
        image = grey_copy(lightness) if ab is None else recombine(lightness, ab)
        rows.append(
            {
                "psnr": similarity.capped_psnr(sample.image, image),
                "ssim": similarity.ssim(sample.image, image),
                "ab_distance": similarity.ab_distance(sample.image, image),
                "colourfulness": similarity.colourfulness(image),
            }
        )
        histogram.add(np.asarray(ab_errors(sample.image[None], image[None]).histogram))
    values = {metric: float(np.mean([row[metric] for row in rows])) for metric in METRICS}
    return Scores(values | {"ab_auc": histogram.area}, [round(float(x), 5) for x in histogram.curve])


def run(method: str, *, seed: int, samples: Sequence[Sample]) -> dict[str, Any]:
    """Trains one network, or goes on with it, and scores each of its colour branches."""
    workdir = Path(WORKDIR.value) / f"{method.replace(' ', '_')}_{seed}"
    finished = workdir / "scores.json"
    if finished.exists():
        return read_json(finished)
    config = config_of(method, seed=seed)
    start = time.perf_counter()
    loop.train(config, workdir)
    seconds = time.perf_counter() - start
    predictor = load_predictor(workdir)
    result: dict[str, Any] = {"seed": seed, "seconds": round(seconds, 1)}
    for branch in BRANCHES:

        def color(lightness: np.ndarray, branch: str = branch) -> np.ndarray:
            return branch_colors(predictor(lightness[None]), temperature=config.inference.temperature)[branch][0]

        if branch in branch_colors(predictor(np.zeros((1, 32, 32, 1))), temperature=config.inference.temperature):
            result[branch] = dataclasses.asdict(score(samples, color))
    write_json(finished, result)
    return result


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns mean and standard deviation over the seeds, and the mean curve, of every branch."""
    table: dict[str, Any] = {}
    for branch in (name for name in BRANCHES if name in runs[0]):
        values = [run[branch]["values"] for run in runs]
        table[branch] = {
            metric: {
                "mean": round(statistics.fmean(row[metric] for row in values), 4),
                "spread": round(statistics.stdev(row[metric] for row in values), 4) if len(values) > 1 else None,
            }
            for metric in values[0]
        }
        table[branch]["curve"] = np.mean([run[branch]["curve"] for run in runs], axis=0).round(5).tolist()
    return table


def table(results: dict[str, Any]) -> str:
    """Returns mean and spread of every method and branch in Markdown."""
    settings, grey = results["settings"], results["grey copy"]["values"]
    lines = [
        f"{settings['steps']} updates of {settings['batch_size']} crops of {settings['crop']} pixels, width "
        f"{settings['width']}; {settings['photos']} validation photos, their central square at {settings['size']} "
        "pixels. Mean and, after the sign, standard deviation over the runs, which differ in their seed.",
        "",
        "| method | colours by | " + " | ".join(HEADINGS) + " | runs | seconds a run |",
        "|---|---|" + "---|" * (len(HEADINGS) + 2),
        "| grey copy | | " + " | ".join(f"{value:.4g}" for value in grey.values()) + " | | |",
    ]
    for method in (name for name in (*ABLATIONS, *COMPARISONS) if name in results):
        seconds = statistics.fmean(run["seconds"] for run in results[method]["runs"])
        for branch in (name for name in BRANCHES if name in results[method]):
            values = [value for name, value in results[method][branch].items() if name != "curve"]
            cells = [f"{v['mean']:.4g}" + (f" ± {v['spread']:.2g}" if v["spread"] is not None else "") for v in values]
            count = len(results[method]["runs"])
            lines.append(f"| {method} | {BRANCHES[branch]} | " + " | ".join(cells) + f" | {count} | {seconds:.0f} |")
    return "\n".join([*lines, ""])


def histogram(results: dict[str, Any]) -> np.ndarray:
    """Draws Fig. 12: a curve for each method, by its annealed mean where it has one."""
    curves = {"grey copy": results["grey copy"]["curve"]}
    for method in (name for name in (*ABLATIONS, *COMPARISONS) if name in results):
        branch = next(name for name in BRANCHES if name in results[method])
        curves[method] = results[method][branch]["curve"]
    return draw_curves({"validation photos": curves})


def main(_: list[str]) -> None:
    """Trains and compares."""
    methods = [*ABLATIONS, *([] if ENCODER.value == "vgg16" else COMPARISONS)]
    config = config_of("RegSoft", seed=0)
    samples = [
        center_square(sample, size=128) for sample in eval_samples(make_source(config, "val"), limit=PHOTOS.value)
    ]
    results: dict[str, Any] = {
        "settings": {
            "steps": STEPS.value,
            "batch_size": config.data.batch_size,
            "crop": config.data.image_size,
            "width": WIDTH.value,
            "encoder": ENCODER.value,
            "photos": len(samples),
            "size": 128,
        },
        "grey copy": dataclasses.asdict(score(samples, lambda lightness: None)),
    }
    runs: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    output = Path(OUTPUT.value)
    for seed, method in itertools.product(range(SEEDS.value), methods):  # a stopped experiment has fair halves
        runs[method].append(run(method, seed=seed, samples=samples))
        results[method] = {"runs": runs[method], **summary(runs[method])}
        write_json(output, results)
        output.with_suffix(".md").write_text(table(results), encoding="utf-8")
        write_image(output.with_suffix(".png"), histogram(results))
        print(method, seed, {name: results[method][name]["psnr"] for name in BRANCHES if name in runs[method][0]})


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
