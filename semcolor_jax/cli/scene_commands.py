"""The commands `semcolor data train-teacher` and `label-scenes`, which label photos with their scenes."""

from __future__ import annotations

import argparse
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcolor_jax.cli.arguments import add_command, path, positive_float, positive_int
from semcolor_jax.errors import UserError
from semcolor_jax.scenes import HEAD_L2, HEAD_SIDE

if TYPE_CHECKING:
    from semcolor_jax.data.example import Source
    from semcolor_jax.scenes.label import Labelling, Shard
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
    label.add_argument("--shard", metavar="i/n", help="this process's share of the photos")
    add_engine(label)
    label.set_defaults(run=run_label_scenes)


def add_teacher(parser: argparse.ArgumentParser, *, required: bool, help: str = "") -> None:
    """Adds `--teacher`, which `scenes.teacher.load_teacher` reads; `help` says what it is for."""
    kinds = "VGG16-Places365 (.h5, .caffemodel), .npz of train-teacher, or small: the stand-in of the package"
    parser.add_argument("--teacher", type=path, required=required, metavar="FILE|small", help=f"{help}{kinds}")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds `--runner` and `--runner-option`, which `engine` reads."""
    parser.add_argument(
        "--runner",
        metavar="NAME",
        help="share the work out by Apache Beam: DirectRunner (this machine), FlinkRunner, SparkRunner, DataflowRunner",
    )
    parser.add_argument(
        "--runner-option",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="an option of Beam or of the runner, such as flink_master=host:8081; may be given again",
    )


def engine(arguments: argparse.Namespace) -> Any:
    """Returns Beam's options from `--runner`, or None. Raises `UserError` as `data.beam.pipeline_options`."""
    if arguments.runner:
        from semcolor_jax.data.beam import pipeline_options

        return pipeline_options(arguments.runner, arguments.runner_option)
    if arguments.runner_option:
        raise UserError("--runner-option is of the engine that --runner names, and there is no --runner.")
    return None


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
    from semcolor_jax.scenes.label import parse_shard
    from semcolor_jax.scenes.teacher import load_teacher

    if arguments.runner and arguments.shard:
        raise UserError("--shard and --runner both share out the photos: give one of them.")
    shard = parse_shard(arguments.shard or "1/1")
    options, teacher = engine(arguments), load_teacher(arguments.teacher)
    data, smoothing = arguments.data, arguments.smoothing
    if arguments.source == "folder":
        output = arguments.output or data / "scenes.json"
        _say(_label_folder(data, teacher, output, smoothing=smoothing, shard=shard, options=options))
    else:
        output = arguments.output or coco_stuff_scenes(data)
        _say(_label_coco_stuff(data, teacher, output, smoothing=smoothing, shard=shard, options=options))


def label_coco_stuff(data_dir: Path, teacher: Teacher, *, options: Any = None) -> None:
    """Labels the scenes of prepared COCO-Stuff, in the file that training reads.

    Args:
      data_dir: the TFDS data_dir.
      teacher: classifies the photos.
      options: of `engine`; None: no engine.

    Raises:
      UserError: as `scenes.label.label_sources`.
    """
    output = coco_stuff_scenes(data_dir)
    _say(_label_coco_stuff(data_dir, teacher, output, smoothing="top5", shard=None, options=options))


def _label_folder(
    folder: Path, teacher: Teacher, output: Path, *, smoothing: str, shard: Shard, options: Any
) -> Labelling:
    if options:
        from semcolor_jax.scenes.label_at_scale import label_folder_on

        return label_folder_on(options, folder, teacher, output=output, smoothing=smoothing)
    from semcolor_jax.scenes.label import label_folder

    return label_folder(folder, teacher, output=output, smoothing=smoothing, shard=shard)


def _label_coco_stuff(
    data_dir: Path, teacher: Teacher, output: Path, *, smoothing: str, shard: Shard | None, options: Any
) -> Labelling:
    open_sources = functools.partial(_coco_stuff, data_dir.absolute())
    if options:
        from semcolor_jax.scenes.label_at_scale import label_sources_on

        return label_sources_on(options, open_sources, teacher, output=output, smoothing=smoothing)
    from semcolor_jax.scenes.label import label_sources

    return label_sources(open_sources(), teacher, output=output, smoothing=smoothing, shard=shard)


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
