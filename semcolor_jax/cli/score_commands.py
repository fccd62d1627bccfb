"""`python -m semcolor_jax score ...`: its arguments, and what it does with them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

_DEFAULT_METRICS = "psnr,ssim,l2ab,lpips,colourfulness"


def add_parser(commands: Any) -> None:
    """Adds `score` to the subparsers of the program; imports nothing heavy."""
    score = commands.add_parser("score", help="measure coloured photos, of any method, against the originals")
    score.add_argument("originals", metavar="ORIGINALS", help="folder of the originals")
    score.add_argument(
        "colorized", nargs="+", metavar="COLORIZED", help="folders of coloured photos, paired by name without suffix"
    )
    score.add_argument("-o", "--output", default="score", metavar="DIR", help="folder of the results (%(default)s)")
    score.add_argument(
        "--metrics",
        default=_DEFAULT_METRICS,
        metavar="LIST",
        help="comma-separated: psnr, ssim, l2ab, lpips, lpips-vgg, colourfulness (%(default)s)",
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
        help="FID with torchvision's or the TensorFlow Inception; vgg16: FID-VGG16, a substitute without download",
    )
    score.add_argument("--fid-weights", metavar="FILE", help="the published file of the Inception's weights")
    score.add_argument(
        "--fid-reference", metavar="DIR", help="other originals to compare with (default: those of the pairs)"
    )
    score.add_argument(
        "--imagenet-weights", metavar="FILE", help="VGG16 of torchvision (.pth) or Keras (.h5): top-1, top-5"
    )
    score.add_argument("--places365-weights", metavar="FILE", help="VGG16-Places365 (.h5 or .caffemodel): top-1, top-5")
    for kind in ("imagenet", "places365"):
        score.add_argument(
            f"--{kind}-labels",
            metavar="FILE",
            help="lines `PHOTO CLASS`, numbers from 0 or names (default: the originals' folders are the classes)",
        )


def run(arguments: argparse.Namespace) -> None:
    """Scores, prints the table and writes it. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.evaluation.score import run as scoring
    from semcolor_jax.evaluation.score import tables
    from semcolor_jax.evaluation.score.options import choose

    output, originals = Path(arguments.output), Path(arguments.originals)
    chosen = choose(
        metrics=[name.strip() for name in arguments.metrics.split(",") if name.strip()],
        fid_features=arguments.fid_features,
        fid_weights=_path(arguments.fid_weights),
        fid_reference=_path(arguments.fid_reference),
        imagenet_weights=_path(arguments.imagenet_weights),
        places365_weights=_path(arguments.places365_weights),
        imagenet_labels=_path(arguments.imagenet_labels),
        places365_labels=_path(arguments.places365_labels),
        originals=originals,
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    score = scoring.score(
        originals,
        [Path(folder) for folder in arguments.colorized],
        output=output,
        size=arguments.size,
        measures=chosen.measures,
        fid_request=chosen.fid,
        unavailable=chosen.unavailable,
    )
    print(tables.text(score))
    for path in tables.write_all(output, score):
        logger.info("wrote %s", path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def parse_size(text: str) -> int | None:
    """Returns the side that `--size` gives, None for "full". Raises ValueError for anything else."""
    if text == "full":
        return None
    size = int(text)
    if not 11 <= size <= 8192:
        raise ValueError
    return size


parse_size.__name__ = "size (11..8192 or full)"
