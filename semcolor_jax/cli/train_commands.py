"""The commands `semcolor train` and `semcolor evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semcolor_jax.cli import flags as cli
from semcolor_jax.cli.arguments import add_checkpoint, add_command, add_config, model, path, positive_int
from semcolor_jax.cli.hosts import add_hosts
from semcolor_jax.errors import UserError


def add_parsers(commands: Any) -> None:
    """Adds `train` and `evaluate` to the subparsers of the program; imports nothing heavy."""
    train = add_command(
        commands,
        "train",
        help="train an experiment, or go on where it stopped",
        example="semcolor train --config quickstart\n  semcolor train --config finetune photos/",
    )
    train.add_argument(
        "photos", nargs="?", metavar="PHOTOS", help="folder of photos to train on, instead of the config's data"
    )
    add_config(train)
    train.add_argument(
        "--workdir", type=path, metavar="W", help="folder of checkpoints, metrics and samples (default: runs/NAME)"
    )
    add_hosts(train)
    train.set_defaults(run=run_train)

    evaluate = add_command(
        commands,
        "evaluate",
        help="measure a network on a split of its data",
        example="semcolor evaluate --model semcolor-v1.1 --config quickstart --limit 20",
    )
    evaluate.add_argument(
        "--model", type=model, required=True, metavar="M", help="work directory of a training, or a released model"
    )
    add_checkpoint(evaluate)
    add_config(evaluate)
    evaluate.add_argument("--split", choices=["train", "val"], default="val", help="default: %(default)s")
    evaluate.add_argument("--limit", type=positive_int, metavar="N", help="measure this many samples (default: all)")
    evaluate.add_argument(
        "-o",
        "--output",
        type=path,
        metavar="DIR",
        help="folder to write to (default: the work directory, or runs/NAME)",
    )
    evaluate.set_defaults(run=run_evaluate)


def run_train(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains `--config` in `--workdir`; without a config, the one that the work directory holds.

    Raises:
      UserError: a mistake of the user's.
    """
    workdir: Path | None = arguments.workdir
    if arguments.config is None and (workdir is None or overrides or arguments.photos):
        raise UserError("No experiment: name one with --config, such as --config full.")
    config = None
    if arguments.config is not None:
        overrides = _with_photos(arguments.photos, overrides)
        config = cli.load_config(arguments.config, overrides, program="semcolor train")
        workdir = workdir or cli.default_workdir(arguments.config)
    assert workdir is not None
    from semcolor_jax.cli import tasks  # imports JAX: only once the arguments are valid

    tasks.train(config, workdir)


def _with_photos(photos: str | None, overrides: Sequence[str]) -> list[str]:
    """Returns the overrides, plus those that select a folder of photos as the data.

    In `--config.data.dir DIR` the parser takes DIR for the photos; this gives it back to its field.
    """
    bare = [index for index, text in enumerate(overrides) if text.startswith("--") and "=" not in text]
    if photos is None:
        return list(overrides)
    if bare:
        place = bare[-1] + 1
        return [*overrides[:place], photos, *overrides[place:]]
    return ["--config.data.source=folder", f"--config.data.dir={photos}", *overrides]


def run_evaluate(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Evaluates `--model` on the data of `--config`, or of its own config with overrides.

    Raises:
      UserError: a mistake of the user's.
    """
    program = "semcolor evaluate"
    config = None
    if arguments.config is not None:
        config = cli.load_config(arguments.config, overrides, program=program)
    from semcolor_jax.cli import tasks

    if arguments.config is None and overrides:
        config = cli.load_config(None, overrides, program=program, base=tasks.model_config(arguments.model))
    tasks.evaluate(
        config,
        arguments.model,
        checkpoint=arguments.checkpoint,
        split=arguments.split,
        limit=arguments.limit,
        output=arguments.output,
    )
