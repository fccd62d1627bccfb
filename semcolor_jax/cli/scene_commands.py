"""The commands `semcolor data train-teacher` and `semcolor data label-scenes`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcolor_jax.cli.arguments import add_command, path, positive_float, positive_int
from semcolor_jax.errors import UserError
from semcolor_jax.scenes import HEAD_L2, HEAD_SIDE

if TYPE_CHECKING:
    from semcolor_jax.data.example import Source
    from semcolor_jax.scenes.label import Labelling
    from semcolor_jax.scenes.teacher import Teacher

logger = logging.getLogger(__name__)


def add_parsers(steps: Any) -> None:
    """Adds `train-teacher` and `label-scenes` to the subparsers of `data`; imports nothing heavy."""
    train = add_command(
        steps,
        "train-teacher",
        help="train a small teacher of scenes on folders of photos named after their scene",
        example="semcolor data train-teacher sun_scenes/ intel_scenes/ -o teacher.npz",
    )
    train.add_argument("folders", nargs="+", type=path, metavar="DIR", help="folder with one folder for each scene")
    train.add_argument("-o", "--output", type=path, required=True, metavar="FILE", help="teacher to write (.npz)")
    train.add_argument(
        "--side", type=positive_int, default=HEAD_SIDE, metavar="N", help="photos are resized to N x N (%(default)s)"
    )
    train.add_argument(
        "--l2", type=positive_float, default=HEAD_L2, metavar="X", help="strength of the regularisation (%(default)s)"
    )
    train.set_defaults(run=run_train_teacher)

    label = add_command(
        steps,
        "label-scenes",
        help="write the five likeliest scenes of every photo in a data set",
        example="semcolor data label-scenes photos/ --teacher small",
    )
    label.add_argument("data", type=path, metavar="DIR", help="folder of photos, or of the prepared COCO-Stuff")
    label.add_argument("--source", choices=["folder", "coco_stuff"], default="folder", help="default: %(default)s")
    add_teacher(label, required=True)
    label.add_argument(
        "-o", "--output", type=path, metavar="FILE", help="file to write (default: the scenes.json that --source reads)"
    )
    label.add_argument("--smoothing", choices=["top5", "gaussian"], default="top5", help="default: %(default)s")
    label.add_argument("--shard", default="1/1", metavar="i/n", help="this process's share of the photos")
    label.set_defaults(run=run_label_scenes)


def add_teacher(parser: argparse.ArgumentParser, *, required: bool, help: str = "") -> None:
    """Adds `--teacher`, which `scenes.teacher.load_teacher` reads; `help` says what becomes of it."""
    kinds = "VGG16-Places365 (.h5, .caffemodel), .npz of train-teacher, or small: the stand-in of the package"
    parser.add_argument("--teacher", type=path, required=required, metavar="FILE|small", help=f"{help}{kinds}")


def run_train_teacher(arguments: argparse.Namespace) -> None:
    """Trains a teacher of scenes. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.scenes.head import save_head
    from semcolor_jax.scenes.train_head import format_held_out, train_head

    trained = train_head(arguments.folders, side=arguments.side, l2=arguments.l2)
    save_head(arguments.output, trained.head)
    print(format_held_out(trained.held_out))
    logger.info("wrote %s: %d scenes", arguments.output, len(trained.head.categories))


def run_label_scenes(arguments: argparse.Namespace) -> None:
    """Writes the scene labels of a data set. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.scenes.label import label_folder, label_sources, parse_shard
    from semcolor_jax.scenes.teacher import load_teacher

    data, shard, teacher = arguments.data, parse_shard(arguments.shard), load_teacher(arguments.teacher)
    if arguments.source == "folder":
        output = arguments.output or data / "scenes.json"
        result = label_folder(data, teacher, output=output, smoothing=arguments.smoothing, shard=shard)
    else:
        output = arguments.output or coco_stuff_scenes(data)
        result = label_sources(_coco_stuff(data), teacher, output=output, smoothing=arguments.smoothing, shard=shard)
    _say(result)


def label_coco_stuff(data_dir: Path, teacher: Teacher) -> None:
    """Labels prepared COCO-Stuff where training looks for it. Raises `UserError` as `scenes.label.label_sources`."""
    from semcolor_jax.scenes.label import label_sources

    _say(label_sources(_coco_stuff(data_dir), teacher, output=coco_stuff_scenes(data_dir)))


def coco_stuff_scenes(data_dir: Path) -> Path:
    """Returns the file in which `CocoStuffSource` looks for scenes."""
    return data_dir / "coco_stuff" / "scenes.json"


def _say(result: Labelling) -> None:
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
