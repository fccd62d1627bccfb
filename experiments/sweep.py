"""Sweeps loss weights, rebalancing and decoder width: short trainings of the release's network, one value changed each.

python experiments/sweep.py --data DATA --workdir runs/sweep [--steps 400] [--width 16]

Each training is `configs/release.py` with its encoder frozen, on its photos at their first size. The release's values
are trained with three seeds, to show which differences are significant; every other value with the first of them. The
scene's weight is left out: with the encoder frozen, the scene branch learns by itself and changes no colour.
`experiments/results/sweep.json` has every run, and `sweep.md` the table. A stopped sweep resumes.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags
from compared_methods import BRANCHES
from ml_collections import ConfigDict
from short_training import begin, run, short_config, summary, table

from semcolor_jax.cli import flags as cli
from semcolor_jax.files import write_json

DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
STEPS = flags.DEFINE_integer("steps", 400, "Updates of each run.", lower_bound=10)
WIDTH = flags.DEFINE_integer("width", 16, "config.model.width where it is not what changes.", lower_bound=1)
PHOTOS = flags.DEFINE_integer("photos", 200, "Validation photos.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "experiments/results/sweep.json", "File of the results.")

SEEDS = 3
NOTE = f"The release's values: mean and standard deviation of {SEEDS} seeds; the others: the first seed alone."
VALUES: dict[str, tuple[float, ...]] = {
    "loss.reg": (1.0, 30.0),
    "loss.rebalancing_lambda": (0.5, 1.0),
    "loss.seg": (0.1, 10.0),
    "model.width": (8, 32),
    "loss.soft": (0.3, 3.0),
}
"""Below and above the release's values, except that lambda ends at 1, where nothing is rebalanced, and that widths are
around `--width`."""


def config_of(field: str | None = None, value: float = 0.0, *, seed: int = 0) -> ConfigDict:
    """Returns the release's short training, with one field changed."""
    config = short_config(DATA.value, steps=STEPS.value, width=WIDTH.value, encoder="vgg16", seed=seed)
    config.name = "sweep"
    if field:
        config.update_from_flattened_dict({field: value})
    return config


def main(_: list[str]) -> None:
    """Trains and compares."""
    samples, results = begin(config_of(), photos=PHOTOS.value)
    results["values"] = {}
    trainings = {"the release's": [(f"release_{seed}", config_of(seed=seed)) for seed in range(SEEDS)]} | {
        f"{field} = {value:g}": [(f"{field}_{value:g}", config_of(field, value))]
        for field, values in VALUES.items()
        for value in values
    }
    output = Path(OUTPUT.value)
    for name, seeds in trainings.items():
        runs = [run(config, Path(WORKDIR.value) / folder, samples=samples) for folder, config in seeds]
        results["values"][name] = {"runs": runs, **summary(runs)}
        write_json(output, results)
        rows = results["values"].items()
        output.with_suffix(".md").write_text(table(results, rows, first="value", note=NOTE), encoding="utf-8")
        print(name, {branch: results["values"][name][branch]["psnr"] for branch in BRANCHES}, flush=True)


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
