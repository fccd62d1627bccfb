"""The commands `semcolor model ...`: export, convert and describe models."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from semcolor_jax.baselines.registry import method_names
from semcolor_jax.cli.arguments import add_checkpoint, add_command, model, path
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)


def add_parsers(commands: Any) -> None:
    """Adds `model` and its commands to the subparsers of the program; imports nothing heavy."""
    group = commands.add_parser("model", help="export, convert and describe models")
    steps = group.add_subparsers(dest="step", required=True, metavar="STEP")

    export = add_command(
        steps,
        "export",
        help="write the weights of a training in 16 or 8 bits, or a network as ONNX or StableHLO",
        example="semcolor model export --model semcolor-v1.1 --format onnx -o semcolor.onnx",
    )
    export.add_argument(
        "--model", type=model, required=True, metavar="M", help="work directory of a training, or a released model"
    )
    export.add_argument(
        "-o", "--output", type=path, required=True, metavar="PATH", help="folder of the released model, or the file"
    )
    export.add_argument(
        "--format",
        choices=["semcolor", "onnx", "stablehlo"],
        default="semcolor",
        help="semcolor: a released model, for this program; the others: lightness to colours, in float32, for "
        "programs without it (default: %(default)s)",
    )
    export.add_argument(
        "--trained", action="store_true", help="one .npz with the trained weights alone, for config.train.start_from"
    )
    add_checkpoint(export, default=None, help="best; with --trained, latest")
    export.add_argument(
        "--bits", type=int, choices=[8, 16], help="of each weight of a released model; 8: int8 kernels (default: 16)"
    )
    export.set_defaults(run=run_export)

    convert = add_command(
        steps,
        "convert",
        help="turn the published weights of a comparison method into a model",
        example="semcolor model convert zhang2016 colorization_release_v2-9b330a0b.pth -o runs/zhang2016",
    )
    names = method_names()
    convert.add_argument("method", choices=names, metavar="METHOD", help=", ".join(names))
    convert.add_argument(
        "file", type=path, metavar="FILE", help="published weights: .pth, .caffemodel, .caffemodel.h5, .npz"
    )
    convert.add_argument("-o", "--output", type=path, required=True, metavar="DIR", help="folder of the model to make")
    convert.set_defaults(run=run_convert)

    info = add_command(
        steps,
        "info",
        help="say what a model is: its network, its training, its size",
        example="semcolor model info semcolor-v1.1",
    )
    info.add_argument("model", type=model, metavar="MODEL", help="name, released model or work directory")
    info.set_defaults(run=run_info)


def run_export(arguments: argparse.Namespace) -> None:
    """Writes a released model, its trained part, or a program. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.cli import tasks  # imports JAX: only once the arguments are valid

    checkpoint = arguments.checkpoint or ("latest" if arguments.trained else "best")
    if arguments.format != "semcolor":
        for option, given in (("--trained", arguments.trained), ("--bits", arguments.bits)):
            if given:
                raise UserError(f"{option} is for released models, not for --format {arguments.format}: leave it out.")
        tasks.export_program(arguments.model, arguments.output, format=arguments.format, checkpoint=checkpoint)
        return
    write = tasks.export_trained if arguments.trained else tasks.export_model
    write(path(arguments.model), arguments.output, checkpoint=checkpoint, bits=arguments.bits or 16)


def run_convert(arguments: argparse.Namespace) -> None:
    """Converts published weights. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.checkpoints.published import convert

    convert(arguments.method, arguments.file, arguments.output)
    logger.info("wrote %s: semcolor colorize PHOTOS -o DIR --model %s", arguments.output, arguments.output)


def run_info(arguments: argparse.Namespace) -> None:
    """Prints what a model is. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.cli import tasks

    print(tasks.model_summary(arguments.model))
