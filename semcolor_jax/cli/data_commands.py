"""The commands `semcolor data ...`: prepare, label and inspect training data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from semcolor_jax.cli import flags as cli
from semcolor_jax.cli import scene_commands
from semcolor_jax.cli.arguments import add_command, add_config, path, positive_int


def add_parsers(commands: Any) -> None:
    """Adds `data` and its commands to the subparsers of the program; imports nothing heavy."""
    data = commands.add_parser("data", help="prepare, label and look at data sets")
    steps = data.add_subparsers(dest="step", required=True, metavar="STEP")
    _add_prepare(steps)
    scene_commands.add_parsers(steps)
    _add_prior(steps)
    _add_inspect(steps)
    _add_sample_photos(steps)


def _add_prepare(steps: Any) -> None:
    prepare = add_command(
        steps,
        "prepare",
        help="download a published data set and resize it for training",
        example="semcolor data prepare coco_stuff -o data/coco --teacher small",
    )
    prepare.add_argument("dataset", choices=["coco_stuff"])
    prepare.add_argument(
        "-o", "--output", type=path, required=True, metavar="DIR", help="folder to prepare into, for config.data.dir"
    )
    prepare.add_argument("--archives", type=path, metavar="DIR", help="folder of the archives, if downloaded already")
    prepare.add_argument(
        "--short-side", type=positive_int, default=256, metavar="N", help="pixels of the short side (%(default)s)"
    )
    scene_commands.add_teacher(prepare, required=False, help="then label the scenes of all photos by ")
    scene_commands.add_engine(prepare)
    prepare.set_defaults(run=run_prepare)


def _add_prior(steps: Any) -> None:
    prior = add_command(
        steps,
        "prior",
        help="measure how often each colour occurs in the training photos",
        example="semcolor data prior --config quickstart -o prior.json",
    )
    add_config(prior)
    prior.add_argument(
        "-o", "--output", type=path, required=True, metavar="FILE", help="file to write, for config.data.prior"
    )
    prior.add_argument("--limit", type=positive_int, metavar="N", help="read this many photos (default: all)")
    prior.set_defaults(run=run_prior)


def _add_inspect(steps: Any) -> None:
    inspect = add_command(
        steps,
        "inspect",
        help="draw training photos as the network receives them",
        example="semcolor data inspect --config quickstart -o grid.png",
    )
    add_config(inspect)
    inspect.add_argument(
        "-o", "--output", type=path, required=True, metavar="FILE", help="picture to write, such as grid.png"
    )
    inspect.add_argument(
        "--limit", type=positive_int, default=12, metavar="N", help="draw this many photos (%(default)s)"
    )
    inspect.add_argument("--seed", type=int, metavar="S", help="of the choice and the augmentation (config.seed)")
    inspect.set_defaults(run=run_inspect)


def _add_sample_photos(steps: Any) -> None:
    photos = add_command(
        steps,
        "sample-photos",
        help="write some black-and-white photos to try things on",
        example="semcolor data sample-photos -o photos/",
    )
    photos.add_argument("-o", "--output", type=path, required=True, metavar="DIR", help="folder to write to")
    photos.set_defaults(run=run_sample_photos)


def run_prepare(arguments: argparse.Namespace) -> None:
    """Prepares a published data set and labels its scenes. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.data import coco_stuff

    options, teacher = scene_commands.engine(arguments), None
    if arguments.teacher:  # read first: a mistyped name is reported before hours of work
        from semcolor_jax.scenes.teacher import load_teacher

        teacher = load_teacher(arguments.teacher)
    coco_stuff.prepare(
        arguments.output, archives=arguments.archives, short_side=arguments.short_side, beam_options=options
    )
    if teacher:
        scene_commands.label_coco_stuff(arguments.output, teacher, options=options)


def run_prior(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Writes the colour prior of a config's data. Raises `UserError` for a mistake of the user's."""
    config = cli.load_config(arguments.config, overrides, program="semcolor data prior")
    from semcolor_jax.cli import tasks

    tasks.write_prior(config, arguments.output, limit=arguments.limit)


def run_inspect(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Draws a config's training photos. Raises `UserError` for a mistake of the user's."""
    config = cli.load_config(arguments.config, overrides, program="semcolor data inspect")
    from semcolor_jax.cli import tasks

    tasks.inspect(config, arguments.output, limit=arguments.limit, seed=arguments.seed)


def run_sample_photos(arguments: argparse.Namespace) -> None:
    """Writes the embedded photos without their colour. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.cli import tasks

    tasks.write_sample_photos(arguments.output)
