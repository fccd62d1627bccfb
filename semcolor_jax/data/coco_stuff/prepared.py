"""Finds the prepared COCO-Stuff, or prepares it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.constants import get_default_data_dir

from semcolor_jax.data.beam import Work
from semcolor_jax.data.coco_stuff.coco_stuff_dataset_builder import SHORT_SIDE, Builder, CocoStuffConfig
from semcolor_jax.data.coco_stuff.published import PHOTOS, PUBLISHED
from semcolor_jax.data.coco_stuff.source import CocoStuffSource
from semcolor_jax.data.folder import Split
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)


def find_prepared(
    data_dir: str | os.PathLike[str], split: Split, *, short_side: int = SHORT_SIDE
) -> CocoStuffSource | None:
    """Returns the prepared data set in a TFDS data_dir, or None if there is none that is large enough.

    Of several sizes, takes the smallest with at least `short_side` pixels on the photos' short side. An empty
    `data_dir` stands for TFDS's default: `$TFDS_DATA_DIR`, or `~/tensorflow_datasets`.

    Raises:
      UserError: if the data set is damaged.
    """
    root = Path(data_dir or get_default_data_dir(), Builder.name)
    sizes = {
        int(match[1]): folder / str(Builder.VERSION)
        for folder in root.glob("*px")
        if (match := re.fullmatch(r"(\d+)px", folder.name))
    }
    prepared = [size for size, folder in sizes.items() if size >= short_side and folder.is_dir()]
    return CocoStuffSource(sizes[min(prepared)], split) if prepared else None


def how_to_prepare(data_dir: str | os.PathLike[str], *, short_side: int = SHORT_SIDE) -> str:
    """Returns the paragraph for a user who has no prepared COCO-Stuff in `data_dir`."""
    where = f"in {os.fspath(data_dir)}" if os.fspath(data_dir) else "(config.data.dir is empty)"
    larger = f" --short-side {short_side}" if short_side > SHORT_SIDE else ""
    files = ", ".join(f"{name} ({file.gigabytes} GB)" for name, file in PUBLISHED.items())
    return (
        f"there is no COCO-Stuff prepared at {max(short_side, SHORT_SIDE)} pixels {where}: run `semcolor data "
        f"prepare coco_stuff -o DIR --teacher TEACHER{larger}`, which downloads {files}, or takes them from "
        f"--archives FOLDER, fills about 6 GB more with {PHOTOS['train']:,} photos to train on and "
        f"{PHOTOS['validation']:,} to validate, and labels their scenes (docs/data.md says what TEACHER is), and train "
        "with --config.data.dir=DIR; or train on photos of your own with "
        "--config.data.source=folder --config.data.dir=PHOTOS."
    )


def prepare(
    data_dir: str | os.PathLike[str],
    *,
    archives: str | os.PathLike[str] | None = None,
    short_side: int = SHORT_SIDE,
    beam_options: Any = None,
) -> Path:
    """Prepares COCO-Stuff for training; after an interruption, the same call resumes.

    Args:
      data_dir: the TFDS data_dir to prepare into; made if it does not exist.
      archives: folder of the published archives; None: they are downloaded to data_dir/downloads/coco_stuff.
      short_side: pixels.
      beam_options: of `data.beam.pipeline_options`: an engine shrinks the photos, with `data_dir` and `archives` under
            the same paths on its workers; None: this process does.

    Returns:
      the folder of the prepared data set.

    Raises:
      UserError: if an archive is missing, damaged or a different one, or the disk is too small or cannot be written.
    """
    if short_side < 1:
        raise UserError(f"the short side is {short_side}, but must be above 0.")
    try:
        builder: Any = _builder(data_dir, short_side)  # Any, because TFDS declares its info optional
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=archives and Path(archives), beam_options=beam_options
            ),
            download_dir=Path(data_dir, "downloads"),
        )
    except OSError as error:
        raise UserError(f"cannot write to {os.fspath(data_dir)}: {error.strerror or error}.") from error
    for split, info in builder.info.splits.items():
        grey = len(builder.info.metadata["gray"][split])
        logger.info("%s: %s photos, %d of them without colour", split, f"{info.num_examples:,}", grey)
    return Path(builder.data_dir)


def shard_writer(
    data_dir: str | os.PathLike[str], short_side: int, archives: Mapping[str, Path], staging: Path
) -> Work[tuple[str, int]]:
    """Returns a function that writes a shard on an engine's worker, given split and index, like `Builder.shard_writer`.

    Args:
      data_dir: the TFDS data_dir.
      short_side: pixels.
      archives: their names and where they are.
      staging: the shards' folder.

    Raises:
      UserError: if an archive is missing, damaged or a different one.
    """
    return _builder(data_dir, short_side).shard_writer(archives, staging)


def _builder(data_dir: str | os.PathLike[str], short_side: int) -> Builder:
    config = CocoStuffConfig(name=f"{short_side}px", short_side=short_side)
    known = config.name in Builder.builder_configs
    return Builder(data_dir=os.fspath(data_dir), config=config.name if known else config)
