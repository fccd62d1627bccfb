"""`python -m semcolor_jax scenes ...`: its arguments, and what it does with them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcolor_jax.errors import UserError
from semcolor_jax.scenes import HEAD_L2, HEAD_SIDE

if TYPE_CHECKING:
    from semcolor_jax.data.example import Source

logger = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Adds `scenes train-head` and `scenes label` to the subparsers of the program; imports nothing heavy."""
    scenes = commands.add_parser("scenes", help="label photos with the scenes they show")
    steps = scenes.add_subparsers(dest="step", required=True, metavar="STEP")

    train = steps.add_parser("train-head", help="train a small teacher on photos in folders named after their scene")
    train.add_argument("--data", action="append", required=True, metavar="DIR", help="folder; may be given repeatedly")
    train.add_argument("-o", "--output", required=True, metavar="FILE", help="teacher to write (.npz)")
    train.add_argument(
        "--side",
        type=_positive(int),
        default=HEAD_SIDE,
        metavar="N",
        help="photos are resized to N x N (%(default)s)",
    )
    train.add_argument(
        "--l2", type=_positive(float), default=HEAD_L2, metavar="X", help="strength of the regularisation (%(default)s)"
    )

    label = steps.add_parser("label", help="write the five likeliest scenes of every photo in a data set")
    label.add_argument("--data", required=True, metavar="DIR", help="folder of photos, or the data_dir of coco_stuff")
    label.add_argument("--source", choices=["folder", "coco_stuff"], default="folder", help="default: %(default)s")
    label.add_argument(
        "--teacher", required=True, metavar="FILE", help=".npz of train-head, or VGG16-Places365: .h5, .caffemodel"
    )
    label.add_argument(
        "-o", "--output", metavar="FILE", help="file to write (default: the scenes.json that --source reads)"
    )
    label.add_argument("--smoothing", choices=["top5", "gaussian"], default="top5", help="default: %(default)s")
    label.add_argument("--shard", default="1/1", metavar="i/n", help="this process's share of the photos")


def run(arguments: argparse.Namespace) -> None:
    """Runs the step that `add_parser`'s arguments name. Raises `UserError` for a mistake of the user's."""
    if arguments.step == "train-head":
        _train_head(arguments)
    else:
        _label(arguments)


def _train_head(arguments: argparse.Namespace) -> None:
    from semcolor_jax.scenes.head import save_head
    from semcolor_jax.scenes.train_head import format_held_out, train_head

    trained = train_head(arguments.data, side=arguments.side, l2=arguments.l2)
    save_head(arguments.output, trained.head)
    print(format_held_out(trained.held_out))
    logger.info("wrote %s: %d scenes", arguments.output, len(trained.head.categories))


def _label(arguments: argparse.Namespace) -> None:
    from semcolor_jax.scenes.label import label_folder, label_sources, parse_shard
    from semcolor_jax.scenes.teacher import load_teacher

    data, shard, teacher = Path(arguments.data), parse_shard(arguments.shard), load_teacher(arguments.teacher)
    if arguments.source == "folder":
        output = arguments.output or data / "scenes.json"
        result = label_folder(data, teacher, output=output, smoothing=arguments.smoothing, shard=shard)
    else:
        output = arguments.output or data / "coco_stuff" / "scenes.json"
        result = label_sources(_coco_stuff(data), teacher, output=output, smoothing=arguments.smoothing, shard=shard)
    if result.output:
        logger.info("wrote %s, %d photos of it now", result.output, result.labelled)
    else:
        logger.info("labelled %d photos; %d are left to the other shards", result.labelled, result.left)


def _coco_stuff(data_dir: Path) -> list[Source]:
    from semcolor_jax.data.coco_stuff import find_prepared, how_to_prepare

    found = [find_prepared(data_dir, split, short_side=1) for split in ("train", "val")]  # of any size
    sources: list[Source] = [source for source in found if source is not None]
    if not sources:
        raise UserError(how_to_prepare(data_dir))
    return sources


def _positive(kind: type[int] | type[float]) -> Any:
    def parse(text: str) -> int | float:
        value = kind(text)
        if not value > 0:
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse
