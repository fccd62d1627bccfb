"""Tests whether scene and segmentation help: trains the paper's ablations and comparison methods alike, and compares.

python experiments/ablation.py --data DATA --workdir runs/ablation [--steps 2000] [--seeds 3] [--width 16]

All six networks see the same photos of `configs/release.py`'s mix in the same order, for the same number of steps, with
Adam at the same rates and random initial weights from the same seeds. `--encoder vgg16` starts with ImageNet's frozen
encoder instead. The comparison methods have no such encoder and are then left out, and so is ClasRegSoft: the scene
branch reads only the encoder, so with that frozen, it changes no colour. All are evaluated on the same validation
photos. The output file has every run, mean and spread over the seeds, and seconds per run; the `.md` beside it has the
table, and the `.png` the cumulative histograms of ab distances (Fig. 12). A stopped run resumes.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from compared_methods import ABLATIONS, BRANCHES, COMPARISONS, config_of
from ml_collections import ConfigDict
from paper_report.curves import draw_curves
from short_training import begin, run, short_config, summary, table

from semcolor_jax.cli import flags as cli
from semcolor_jax.files import write_json
from semcolor_jax.photos.files import write_image

DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
STEPS = flags.DEFINE_integer("steps", 2000, "Updates of each run.", lower_bound=10)
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each method.", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", 16, "config.model.width of all networks.", lower_bound=1)
PHOTOS = flags.DEFINE_integer("photos", 400, "Validation photos.", lower_bound=1)
ENCODER = flags.DEFINE_enum("encoder", "vgg_like", ["vgg_like", "vgg16"], "Of the ablations.")
OUTPUT = flags.DEFINE_string("output", "experiments/results/ablation.json", "File of the results.")

NOTE = "Mean and, after the sign, standard deviation over the runs, which differ in their seed."


def training(method: str, *, seed: int) -> ConfigDict:
    """Returns the training of one method; everything else is equal."""
    config = short_config(DATA.value, steps=STEPS.value, width=WIDTH.value, encoder=ENCODER.value, seed=seed)
    config.name = method
    return config_of(method, config)


def histogram(results: dict[str, Any]) -> np.ndarray:
    """Draws Fig. 12: a curve for each method, by its annealed mean where it has one."""
    curves = {"grey copy": results["grey copy"]["curve"]}
    for method in (name for name in (*ABLATIONS, *COMPARISONS) if name in results):
        branch = next(name for name in BRANCHES if name in results[method])
        curves[method] = results[method][branch]["curve"]
    return draw_curves({"validation photos": curves})


def main(_: list[str]) -> None:
    """Trains and compares."""
    methods = ["RegSoft", "SegClasRegSoft"] if ENCODER.value == "vgg16" else [*ABLATIONS, *COMPARISONS]
    samples, results = begin(training("RegSoft", seed=0), photos=PHOTOS.value)
    runs: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    output = Path(OUTPUT.value)
    for seed, method in itertools.product(range(SEEDS.value), methods):  # a stopped experiment has complete rounds
        workdir = Path(WORKDIR.value) / f"{method.replace(' ', '_')}_{seed}"
        runs[method].append(run(training(method, seed=seed), workdir, samples=samples))
        results[method] = {"runs": runs[method], **summary(runs[method])}
        write_json(output, results)
        rows = ((name, results[name]) for name in methods if name in results)
        output.with_suffix(".md").write_text(table(results, rows, first="method", note=NOTE), encoding="utf-8")
        write_image(output.with_suffix(".png"), histogram(results))
        print(method, seed, {name: results[method][name]["psnr"] for name in BRANCHES if name in runs[method][0]})


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
