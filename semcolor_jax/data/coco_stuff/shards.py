"""Prepares COCO-Stuff in shards that are written atomically, so that an interrupted run resumes.

A folder collects, until the data set is complete:

  archives.json                          the archives that the shards come from
  coco_stuff-SPLIT.array_record-i-of-n   samples, in the order of the photos' names
  coco_stuff-SPLIT.array_record-i-of-n.json   the ids of its grey photos, written before it
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from semcolor_jax.data.archive import Archive
from semcolor_jax.data.coco_stuff.samples import store_sample
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, replacing, write_json

SHARD_LENGTH = 1000
"""Photos per shard: about 50 MB, and what is lost at most when a preparation is interrupted."""

ShardName: TypeAlias = Callable[[int, int], str]
"""(index, number of shards) -> file name."""

Serialize: TypeAlias = Callable[[Mapping[str, Any]], bytes]
"""Features of a sample -> the record to store."""


class Shard(NamedTuple):
    """A finished shard.

    Attributes:
      path: the file.
      image_ids: of its samples, in their order.
      grey: ids of the photos without colour among them.
    """

    path: Path
    image_ids: Sequence[int]
    grey: Sequence[int]


def open_staging(folder: Path, archives: Mapping[str, Path], *, verify: Callable[[Mapping[str, Path]], None]) -> None:
    """Makes the folder of the shards, or empties it if its shards come from other archives.

    Args:
      folder: to collect the shards in.
      archives: the files that they come from.
      verify: called with them, unless it has been for the shards that are there.

    Raises:
      UserError: what `verify` raises, or if the folder cannot be written.
    """
    made_from = folder / "archives.json"
    status = {name: path.stat() for name, path in archives.items()}
    identity = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in status.items()}
    if made_from.exists() and read_json(made_from) == identity:
        return
    verify(archives)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}.") from error
    write_json(made_from, identity)


def find_photos(folder: str, *, photos: Archive, labels: Archive) -> list[str]:
    """Returns the sorted names of the photos in a folder of the archive, e.g. "train2017".

    Raises:
      UserError: if there are none, or one is not named after an id, or has no label map.
    """
    names = sorted(name for name in photos.names if PurePosixPath(name).match(f"{folder}/*.jpg"))
    if not names:
        raise UserError(f"{photos.path} holds no photos {folder}/*.jpg: it is not the published archive.")
    for name in names:
        if not PurePosixPath(name).stem.isdecimal():
            raise UserError(f"{photos.path} holds {name}, which is not named after an id, such as 000000000009.jpg.")
        if label_map_of(name) not in labels.names:
            raise UserError(f"{labels.path} lacks {label_map_of(name)}: it is not the published archive.")
    return names


def write_shards(
    folder: Path,
    names: Sequence[str],
    *,
    shard_name: ShardName,
    photos: Archive,
    labels: Archive,
    short_side: int,
    serialize: Serialize,
) -> list[Shard]:
    """Prepares the photos of a split on all cores, in their order; shards that are there already are kept.

    Args:
      folder: where the shards go.
      names: the photos.
      shard_name: how shards are called.
      photos: the archive of photos.
      labels: the archive of label maps.
      short_side: to which they are reduced, in pixels.
      serialize: makes the record of the features `image`, `segmentation` and `image_id`.

    Raises:
      UserError: as `store_sample`, or if the folder cannot be written.
    """

    def record(name: str) -> tuple[bytes, bool]:
        sample = store_sample(name, label_map_of(name), photos=photos, labels=labels, short_side=short_side)
        features = {"image": sample.image, "segmentation": sample.segmentation, "image_id": _image_id(name)}
        return serialize(features), sample.grey

    parts = [names[start : start + SHARD_LENGTH] for start in range(0, len(names), SHARD_LENGTH)]
    description = f"preparing {PurePosixPath(names[0]).parent}"
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(total=len(names), desc=description, unit="photo") as progress:
        shards = []
        for index, part in enumerate(parts):
            path = folder / shard_name(index, len(parts))
            if path.exists():
                progress.update(len(part))
            else:
                _write_shard(path, part, record, pool=pool, progress=progress)
            shards.append(Shard(path, [_image_id(name) for name in part], read_json(_grey_file(path))))
    return shards


def label_map_of(photo: str) -> str:
    """Returns the name of a photo's label map."""
    return str(PurePosixPath(photo).with_suffix(".png"))


def _write_shard(
    path: Path, names: Sequence[str], record: Callable[[str], tuple[bytes, bool]], *, pool: Executor, progress: tqdm
) -> None:
    grey = []
    with replacing(path) as temporary:
        writer = ArrayRecordWriter(os.fspath(temporary), "group_size:1")  # each record can be read alone
        try:
            for name, (content, is_grey) in zip(names, pool.map(record, names), strict=True):
                writer.write(content)
                grey += [_image_id(name)] if is_grey else []
                progress.update()
        finally:
            writer.close()
        write_json(_grey_file(path), grey)


def _grey_file(shard: Path) -> Path:
    return shard.with_name(shard.name + ".json")


def _image_id(name: str) -> int:
    return int(PurePosixPath(name).stem)
