"""Trains, evaluates or colorizes with one experiment's config.

python launch.py --config configs/full.py --workdir runs/full
python launch.py --config configs/full.py:regsoft,runlocal --config.data.batch_size=4 --workdir runs/try
python launch.py --task evaluate --workdir runs/full                    # the whole validation split it was trained with
python launch.py --task evaluate --workdir semcolor-v1 --config CONFIG --limit 100   # a released model, 100 samples
python launch.py --task colorize --workdir runs/full --output out/ old_photo.jpg
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from semcolor_jax.cli import colorize_command
from semcolor_jax.cli import flags as cli

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of checkpoints, metrics and sample grids.", required=True)
TASK = flags.DEFINE_enum("task", "train", ["train", "evaluate", "colorize"], "What to do.")
SPLIT = flags.DEFINE_enum("split", "val", ["train", "val"], "Of --task evaluate: which split to measure.")
LIMIT = flags.DEFINE_integer("limit", None, "Of --task evaluate: measure so many samples (default: all).")
OUTPUT = flags.DEFINE_string("output", None, "Of --task colorize and evaluate: the folder to write to.")


def main(argv: Sequence[str]) -> None:
    """Runs the task; the config comes from --config, or else from the work directory."""
    cli.configure_logging()
    workdir = Path(WORKDIR.value)
    if TASK.value == "colorize":
        colorize_command.colorize(argv[1:], output=OUTPUT.value, model=workdir)
        return
    from semcolor_jax.cli import tasks  # imports JAX and TensorFlow: after the flags have been checked

    if TASK.value == "train":
        tasks.train(CONFIG.value, workdir)
    else:
        output = Path(OUTPUT.value) if OUTPUT.value else None
        split = "train" if SPLIT.value == "train" else "val"
        tasks.evaluate(CONFIG.value, WORKDIR.value, split=split, limit=LIMIT.value, output=output)


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
