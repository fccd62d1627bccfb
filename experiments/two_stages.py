"""Shows both learning-rate stages in a real training: what the plateau watched, when it fired, how the cycles went.

python experiments/two_stages.py --workdir runs/two_stages [--stage1 40] [--stage2 20]

A very small network is trained on the photos that come with the dependencies, with the schedule and rates of
`configs/full.py` (at a larger batch, because an epoch is short). It memorises these few photos: the training loss falls
to the end while the validation loss does not, which is when a plateau should fire.
`experiments/results/two_stages.json` has every epoch, the picture beside it draws them. A stopped run resumes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from absl import app, flags
from ml_collections import ConfigDict

from semcolor_jax.cli import flags as cli
from semcolor_jax.config import default
from semcolor_jax.files import write_json
from semcolor_jax.training import loop
from semcolor_jax.training.scalars import FILE

mpl.use("Agg")
from matplotlib import pyplot as plt

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
STAGE1 = flags.DEFINE_integer("stage1", 40, "Epochs of stage 1.", lower_bound=1)
STAGE2 = flags.DEFINE_integer("stage2", 20, "Epochs of stage 2.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "experiments/results/two_stages.json", "File of the results.")


def config_of() -> ConfigDict:
    """Returns the training: the default scheme, a network of few filters, photos of 32 pixels."""
    config = default()
    config.name = "two_stages"
    config.data.source = "embedded"
    config.model.width, config.model.scene_features = 4, 32
    config.data.short_side, config.data.image_size, config.data.batch_size = 40, 32, 16
    config.augment.update(dict(rotate=0.0, scale=0.0, translate=0.0, contrast=0.0, brightness=0.0))
    config.schedule.stage1_epochs, config.schedule.stage2_epochs = STAGE1.value, STAGE2.value
    config.train.log_every_steps = 1
    config.train.checkpoint_every_steps = 1000
    config.train.eval_every_steps = 10**6
    return config


def epochs_of(lines: list[str], *, count: int) -> list[dict[str, float]]:
    """Returns for each epoch the last learning rate, the mean training loss, and the validation loss after it."""
    rows = list(map(json.loads, lines))
    length = max(row["step"] for row in rows) // count
    epochs = []
    for last in range(length, count * length + 1, length):
        updates = [row for row in rows if last - length < row["step"] <= last and "loss" in row]
        after = next(row["val_loss"] for row in rows if row["step"] == last and "val_loss" in row)
        loss = sum(row["loss"] for row in updates) / len(updates)
        epochs.append({"learning_rate": updates[-1]["learning_rate"], "loss": loss, "val_loss": after})
    return epochs


def reductions(epochs: list[dict[str, float]]) -> list[int]:
    """Returns the epochs of stage 1 that began with a lower rate than the previous one."""
    rates = [epoch["learning_rate"] for epoch in epochs[: STAGE1.value]]
    return [index for index in range(1, len(rates)) if rates[index] < rates[index - 1]]


def draw(epochs: list[dict[str, float]], fired: list[int], path: Path) -> None:
    """Draws rate and losses over the epochs."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5.5), sharex=True, layout="constrained")
    counts = range(1, len(epochs) + 1)
    above.plot(counts, [epoch["learning_rate"] for epoch in epochs], color="#4271ae")
    above.set_ylabel("learning rate")
    below.plot(counts, [epoch["loss"] for epoch in epochs], color="#8c8c8c", label="training, mean of the epoch")
    below.plot(counts, [epoch["val_loss"] for epoch in epochs], color="#d68c14", label="validation")
    below.set(ylabel="joint loss", xlabel="epoch")
    for axes in (above, below):
        axes.axvline(STAGE1.value + 0.5, color="#bbbbbb")
        for epoch in fired:
            axes.axvline(epoch + 0.5, color="#be3c38", linestyle=":", linewidth=0.8)
    above.set_title("dotted: the plateau fired; grey: stage 2 begins", fontsize=10)
    below.legend()
    figure.savefig(path, dpi=110)


def main(_: list[str]) -> None:
    """Trains and draws."""
    workdir, output = Path(WORKDIR.value), Path(OUTPUT.value)
    loop.train(config_of(), workdir)
    epochs = epochs_of((workdir / FILE).read_text(encoding="utf-8").splitlines(), count=STAGE1.value + STAGE2.value)
    fired = reductions(epochs)
    results: dict[str, Any] = {"stage1_epochs": STAGE1.value, "fired_after_epochs": fired, "epochs": epochs}
    write_json(output, results)
    draw(epochs, fired, output.with_suffix(".png"))
    print(f"{len(epochs)} epochs; the plateau fired after epochs {fired}; {output}")


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
