"""Chooses the weights of eq. 16, which the paper leaves open, so that all losses pull equally at the shared encoder.

python experiments/loss_weights.py --data DATA --workdir runs/loss_weights [--steps 400] [--width 8] [--rounds 2]

The network of `configs/full.py`, slim, is trained on the release's photos at their first size with all weights 1. Then
each loss's gradient at the encoder is measured, and the loss gets the weight that would make its norm that of
soft-encoding's (as GradNorm begins, Chen et al. 2018). A network trained with those weights has different gradients; so
the next round retrains and corrects the weights by half of the remaining difference (of the logarithm). The output file
has the norms and weights of each round and how well its network colours; the `.md` beside it has the table. A stopped
run resumes.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from absl import app, flags
from accelerator_jobs.balance import balanced_weights, gradient_norms
from compared_methods import BRANCHES, titles_of
from ml_collections import ConfigDict
from short_training import begin, run, short_config

from semcolor_jax.cli import flags as cli
from semcolor_jax.config import default
from semcolor_jax.evaluation import table_text
from semcolor_jax.files import read_json, write_json
from semcolor_jax.training import loop

DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
STEPS = flags.DEFINE_integer("steps", 400, "Updates of each run.", lower_bound=10)
WIDTH = flags.DEFINE_integer("width", 8, "config.model.width.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 2, "Trainings; the first has all weights 1.", lower_bound=1)
SEEDS = flags.DEFINE_integer("seeds", 1, "Trainings of each round.", lower_bound=1)
PHOTOS = flags.DEFINE_integer("photos", 200, "Validation photos.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "experiments/results/loss_weights.json", "File of the results.")

LOSSES = ("soft", "reg", "scene", "seg")
BATCHES = 16
"""Over which the median of a gradient's norm is taken."""


def config_of(weights: dict[str, float], *, seed: int) -> ConfigDict:
    """Returns the training of one round."""
    config = short_config(DATA.value, steps=STEPS.value, width=WIDTH.value, encoder="vgg_like", seed=seed)
    config.name = "loss_weights"
    config.loss.update(default().loss)
    config.loss.update(weights)
    return config


def train(config: ConfigDict, workdir: Path, *, samples: Any) -> dict[str, Any]:
    """Trains one network; returns its scores, and the norm of each loss's gradient before and after."""
    finished = workdir / "gradients.json"
    scores = run(config, workdir, samples=samples)
    if not finished.exists():
        setup, fresh = loop.prepare(config, workdir)
        trained = loop.train(config, workdir)  # nothing left to do: it returns the last state
        norms = {}
        for title, state in (("before", fresh), ("after", trained)):
            batches = itertools.islice(loop.training_batches(setup, state), BATCHES)
            norms[title] = gradient_norms(
                setup.phases[0].model, state, batches, config=config, rebalancing=setup.rebalancing
            )
        write_json(finished, norms)
    return {"scores": scores, "norms": read_json(finished)}


def mean_norms(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the geometric mean over the seeds of each norm after training."""
    return {name: math.prod(run["norms"]["after"][name] for run in runs) ** (1 / len(runs)) for name in LOSSES}


def table(rounds: list[dict[str, Any]]) -> str:
    """Returns the rounds in Markdown."""
    header = ["round", *(f"weight of {name}" for name in LOSSES), *(f"its pull, {name}" for name in LOSSES)]
    titles = titles_of(rounds[0]["runs"][0]["scores"])
    header += [f"ab distance, {titles[branch]}" for branch in BRANCHES]
    rows = []
    for number, entry in enumerate(rounds):
        pulls = (entry["weights"][name] * entry["norms"][name] for name in LOSSES)
        distances = (
            sum(run["scores"][branch]["values"]["ab_distance"] for run in entry["runs"]) / len(entry["runs"])
            for branch in BRANCHES
        )
        rows.append(
            [
                str(number + 1),
                *(f"{entry['weights'][name]:.3g}" for name in LOSSES),
                *(f"{pull:.2g}" for pull in pulls),
                *(f"{distance:.2f}" for distance in distances),
            ]
        )
    return table_text.markdown(header, rows)


def main(_: list[str]) -> None:
    """Trains and balances."""
    weights: dict[str, float] = dict.fromkeys(LOSSES, 1.0)
    rounds: list[dict[str, Any]] = []
    samples, results = begin(config_of(weights, seed=0), photos=PHOTOS.value)
    output = Path(OUTPUT.value)
    for number in range(1, ROUNDS.value + 1):
        folders = {seed: Path(WORKDIR.value) / f"round_{number}_{seed}" for seed in range(SEEDS.value)}
        runs = [train(config_of(weights, seed=seed), folder, samples=samples) for seed, folder in folders.items()]
        norms = mean_norms(runs)
        rounds.append({"weights": weights, "norms": norms, "balanced": balanced_weights(norms), "runs": runs})
        write_json(output, results | {"rounds": rounds})
        note = (
            f"{STEPS.value} updates of 16 crops of 64 pixels, width {WIDTH.value}, {SEEDS.value} seed(s) a round. A "
            "pull is the weight times the norm of the loss's gradient at the encoder after training, the median over "
            f"{BATCHES} batches. ab distance: {len(samples)} validation photos; the grey copy has "
            f"{results['grey copy']['values']['ab_distance']:.2f}."
        )
        output.with_suffix(".md").write_text(f"{note}\n\n{table(rounds)}\n", encoding="utf-8")
        print(table(rounds), flush=True)
        target = rounds[-1]["balanced"]
        step = 1.0 if number == 1 else 0.5
        weights = {name: float(f"{weights[name] * (target[name] / weights[name]) ** step:.2g}") for name in LOSSES}


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
