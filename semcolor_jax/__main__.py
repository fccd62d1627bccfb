"""`python -m semcolor_jax COMMAND`: the commands of people who have photos rather than experiments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from semcolor_jax import __version__, cli


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semcolor_jax", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    colorize = commands.add_parser("colorize", help="colour black-and-white photos")
    colorize.add_argument("photos", nargs="+", metavar="PHOTO", help="photo files or folders")
    colorize.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the coloured photos")
    colorize.add_argument(
        "--workdir", default="runs/quickstart", metavar="W", help="work directory of a training (%(default)s)"
    )

    photos = commands.add_parser("sample-photos", help="write the embedded photos as black-and-white files")
    photos.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write to")

    prepare = commands.add_parser("prepare", help="unpack and resize a published data set")
    prepare.add_argument("dataset", choices=["coco_stuff"])
    prepare.add_argument("--archives", required=True, metavar="DIR", help="folder of the downloaded archives")
    prepare.add_argument("--data_dir", required=True, metavar="DIR", help="folder to prepare into")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command; exit code 2 with one sentence for a mistake of the user's."""
    arguments = _parser().parse_args(argv)
    cli.configure_logging()
    with cli.user_errors():
        if arguments.command == "colorize":
            from semcolor_jax import tasks  # imports JAX: only once the arguments are right

            tasks.colorize(arguments.photos, output=arguments.output, workdir=Path(arguments.workdir))
        elif arguments.command == "sample-photos":
            from semcolor_jax import tasks

            tasks.write_sample_photos(Path(arguments.output))
        elif arguments.command == "prepare":
            from semcolor_jax.data.coco_stuff import prepare_from_archives

            prepare_from_archives(Path(arguments.archives), Path(arguments.data_dir))


if __name__ == "__main__":
    main(sys.argv[1:])
