"""`python -m semcolor_jax convert METHOD FILE -o WORKDIR`: published weights become a work directory."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from semcolor_jax.baselines.registry import method_names

logger = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Adds `convert` to the subparsers of the program; imports nothing heavy."""
    convert = commands.add_parser("convert", help="turn the published weights of a comparison method into a checkpoint")
    names = method_names()
    convert.add_argument("method", choices=names, metavar="METHOD", help=", ".join(names))
    convert.add_argument("file", metavar="FILE", help="published weights: .pth, .caffemodel or .caffemodel.h5")
    convert.add_argument(
        "-o", "--output", required=True, metavar="W", help="work directory to write, for colorize and evaluate"
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs what `add_parser`'s arguments say. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.checkpoints.published import convert

    workdir = Path(arguments.output)
    convert(arguments.method, Path(arguments.file), workdir)
    logger.info("wrote %s; colour photos with `python -m semcolor_jax colorize --workdir %s ...`", workdir, workdir)
