"""`python -m semcolor_jax colorize PHOTO... -o DIR`: its arguments, and what it does with them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semcolor_jax import load
from semcolor_jax.errors import UserError


def add_parser(commands: Any) -> None:
    """Adds `colorize` to the subparsers of the program; imports nothing heavy."""
    parser = commands.add_parser("colorize", help="colour black-and-white photos")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photo files or folders")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the coloured photos")
    parser.add_argument(
        "--model",
        "--workdir",
        metavar="M",
        help="released model, work directory of a training, or file of trained weights (default: the released model)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs what `add_parser`'s arguments say. Raises `UserError` for a mistake of the user's."""
    colorize(arguments.photos, output=arguments.output, model=arguments.model)


def colorize(photos: Sequence[str], *, output: str | None, model: str | Path | None = None) -> list[Path]:
    """Colorizes photos with a model (see `semcolor_jax.load`); each keeps its name and size.

    Raises:
      UserError: no photo or no output folder given; a photo that cannot be read.
    """
    if not photos:
        raise UserError("No photo to colorize: name at least one file or folder.")
    if not output:
        raise UserError("No output folder: give one with --output DIR (or -o DIR).")
    # JAX, but neither TensorFlow nor anything else of the training: they would double start-up time and memory.
    from semcolor_jax.cli.allocator import return_large_blocks
    from semcolor_jax.cli.compile_cache import enable_compile_cache
    from semcolor_jax.inference.photo_files import colorize_files

    return_large_blocks()
    enable_compile_cache()
    written = colorize_files(load(model), [Path(photo) for photo in photos], Path(output))
    for path in written:
        print(path)
    return written
