"""`python -m semcolor_jax COMMAND`: the commands of people who have photos rather than experiments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semcolor_jax import __version__
from semcolor_jax.cli import colorize_command, convert_command
from semcolor_jax.cli import flags as cli
from semcolor_jax.cli import scene_commands as scene_commands
from semcolor_jax.cli import score_commands as score_commands


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semcolor_jax", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    colorize_command.add_parser(commands)

    photos = commands.add_parser("sample-photos", help="write the embedded photos as black-and-white files")
    photos.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write to")

    prepare = commands.add_parser("prepare", help="download a published data set and resize it for training")
    prepare.add_argument("dataset", choices=["coco_stuff"])
    prepare.add_argument("--data_dir", required=True, metavar="DIR", help="folder to prepare into (TFDS data_dir)")
    prepare.add_argument("--archives", metavar="DIR", help="folder of the archives, if they have been downloaded")
    prepare.add_argument(
        "--short_side", type=int, default=256, metavar="N", help="pixels of the short side to store (%(default)s)"
    )

    prior = commands.add_parser("prior", help="measure how often each colour occurs in a data set's training photos")
    prior.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write, for config.data.prior")
    prior.add_argument("--images", type=int, metavar="N", help="read N photos at most (default: all)")

    inspect = commands.add_parser("inspect", help="draw training photos as the network receives them")
    inspect.add_argument("-o", "--output", required=True, metavar="FILE", help="picture to write, such as grid.png")
    inspect.add_argument("--count", type=int, default=12, metavar="N", help="how many photos (%(default)s)")
    inspect.add_argument("--seed", type=int, metavar="S", help="of the choice and the augmentation (config.seed)")
    for command in (prior, inspect):
        command.add_argument(
            "--config",
            metavar="FILE",
            help="the experiment, a file of configs/; its fields can be set as --config.data.source=folder "
            "(default: the fields of semcolor_jax/config.py)",
        )

    export = commands.add_parser("export-weights", help="write the newest weights of a training in 16 bits")
    export.add_argument("--workdir", required=True, metavar="W", help="work directory of the training")
    export.add_argument("-o", "--output", required=True, metavar="PATH", help="folder of the released model to make")
    export.add_argument(
        "--trained",
        action="store_true",
        help="one .npz file with the trained weights alone, for config.train.start_from",
    )

    convert_command.add_parser(commands)
    scene_commands.add_parser(commands)
    score_commands.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command; exit code 2 with one sentence for a mistake of the user's."""
    parser = _parser()
    arguments, overrides = parser.parse_known_args(argv)
    if overrides and "config" not in arguments:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    cli.configure_logging()
    with cli.user_errors():
        if arguments.command == "colorize":
            colorize_command.run(arguments)
        elif arguments.command == "sample-photos":
            from semcolor_jax.cli import tasks  # imports JAX: only once the arguments are right

            tasks.write_sample_photos(Path(arguments.output))
        elif arguments.command == "prepare":
            from semcolor_jax.data import coco_stuff

            coco_stuff.prepare(arguments.data_dir, archives=arguments.archives, short_side=arguments.short_side)
        elif arguments.command in ("prior", "inspect"):
            config = cli.load_config(arguments.config, overrides, program=f"{parser.prog} {arguments.command}")
            from semcolor_jax.cli import tasks

            if arguments.command == "prior":
                tasks.write_prior(config, Path(arguments.output), max_images=arguments.images)
            else:
                tasks.inspect(config, Path(arguments.output), count=arguments.count, seed=arguments.seed)
        elif arguments.command == "export-weights":
            from semcolor_jax.cli import tasks

            tasks.export_weights(Path(arguments.workdir), Path(arguments.output), trained_only=arguments.trained)
        elif arguments.command == "convert":
            convert_command.run(arguments)
        elif arguments.command == "scenes":
            scene_commands.run(arguments)
        elif arguments.command == "score":
            from semcolor_jax.cli.compile_cache import enable_compile_cache

            enable_compile_cache()
            score_commands.run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
