"""The command `semcolor score`, which measures coloured photos against their originals."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from semcolor_jax.cli.arguments import add_command, path
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

_DEFAULT_METRICS = "psnr,ssim,l2ab,lpips,colourfulness"


def add_parser(commands: Any) -> None:
    """Adds `score` to the subparsers of the program; imports nothing heavy."""
    score = add_command(
        commands,
        "score",
        help="measure coloured photos, of any method, against the originals",
        example="semcolor score originals/ coloured/ -o results",
    )
    score.usage = "semcolor score ORIGINALS COLORIZED [COLORIZED ...] [-o DIR] [options]"
    score.add_argument("originals", type=path, metavar="ORIGINALS", help="folder of the originals")
    score.add_argument(
        "colorized",
        nargs="+",
        type=path,
        metavar="COLORIZED",
        help="folders of coloured photos, paired by name",
    )
    score.add_argument(
        "-o", "--output", type=path, default="score", metavar="DIR", help="folder of the results (%(default)s)"
    )
    score.add_argument(
        "--metrics",
        default=_DEFAULT_METRICS,
        metavar="LIST",
        help="of these and lpips-vgg (%(default)s)",
    )
    score.add_argument(
        "--size",
        type=parse_size,
        default=256,
        metavar="N|full",
        help="side of the central square, or full (%(default)s)",
    )
    score.add_argument(
        "--fid-features",
        choices=["torchvision", "tf", "vgg16"],
        help="FID: an Inception (torchvision's, tf's), or FID-VGG16 without download",
    )
    score.add_argument("--fid-weights", type=path, metavar="FILE", help="the published file of the Inception's weights")
    score.add_argument(
        "--fid-reference",
        type=path,
        metavar="DIR",
        help="originals for FID (default: those of the pairs)",
    )
    score.add_argument("--imagenet-weights", type=path, metavar="FILE", help="top-1, top-5 by VGG16 (.pth, .h5)")
    score.add_argument(
        "--places365-weights", type=path, metavar="FILE", help="the same by VGG16-Places365 (.h5, .caffemodel)"
    )
    for kind in ("imagenet", "places365"):
        score.add_argument(
            f"--{kind}-labels",
            type=path,
            metavar="FILE",
            help="lines `PHOTO CLASS` (default: the folder is the class)",
        )
    score.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Scores, prints the table and writes it. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.cli.compile_cache import enable_compile_cache
    from semcolor_jax.evaluation.score import run as scoring
    from semcolor_jax.evaluation.score import tables
    from semcolor_jax.evaluation.score.options import choose

    enable_compile_cache()
    output, originals = arguments.output, arguments.originals
    chosen = choose(
        metrics=[name.strip() for name in arguments.metrics.split(",") if name.strip()],
        fid_features=arguments.fid_features,
        fid_weights=arguments.fid_weights,
        fid_reference=arguments.fid_reference,
        imagenet_weights=arguments.imagenet_weights,
        places365_weights=arguments.places365_weights,
        imagenet_labels=arguments.imagenet_labels,
        places365_labels=arguments.places365_labels,
        originals=originals,
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    score = scoring.score(
        originals,
        arguments.colorized,
        output=output,
        size=arguments.size,
        measures=chosen.measures,
        fid_request=chosen.fid,
        unavailable=chosen.unavailable,
    )
    print(tables.text(score))
    for written in tables.write_all(output, score):
        logger.info("wrote %s", written)


def parse_size(text: str) -> int | None:
    """Returns the side given by `--size`, None for "full". Raises ValueError for anything else."""
    if text == "full":
        return None
    size = int(text)
    if not 11 <= size <= 8192:
        raise ValueError
    return size


parse_size.__name__ = "size (11..8192 or full)"
