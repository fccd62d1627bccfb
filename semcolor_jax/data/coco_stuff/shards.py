"""Prepares COCO-Stuff in shards that are written atomically, so that an interrupted run resumes.

Until the data set is complete, a folder collects:

  archives.json                          the archives that the shards come from
  coco_stuff-SPLIT.array_record-i-of-n   samples, in the order of the photos' names
  coco_stuff-SPLIT.array_record-i-of-n.json   the ids of its grey photos, written before it
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from semcolor_jax.data.archive import Archive
from semcolor_jax.data.coco_stuff.samples import store_sample
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, replacing, write_json

SHARD_LENGTH = 1000
"""Photos per shard: about 50 MB, the most that an interrupted preparation loses."""

ShardName: TypeAlias = Callable[[int, int], str]
"""(index, number of shards) -> file name."""

Serialize: TypeAlias = Callable[[Mapping[str, Any]], bytes]
"""Features of a sample -> the record to store."""


class Shard(NamedTuple):
    """A finished shard.

    Attributes:
      path: the file.
      image_ids: of its samples, in order.
      grey: ids of the photos without colour among them.
    """

    path: Path
    image_ids: Sequence[int]
    grey: Sequence[int]


class _Record(NamedTuple):
    """A stored sample: its bytes, its id, and whether its photo has no colour."""

    content: bytes
    image_id: int
    grey: bool


def open_staging(folder: Path, archives: Mapping[str, Path], *, verify: Callable[[Mapping[str, Path]], None]) -> None:
    """Makes the folder of the shards, or empties it if its shards come from other archives.

    Args:
      folder: collects the shards.
      archives: the shards' source files.
      verify: called with them, unless the existing shards were made after such a call.

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


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of a split, written one by one.

    Attributes:
      folder: their target.
      names: the photos, in order.
      shard_name: gives the shards' file names.
      photos: the archive of photos.
      labels: the archive of label maps.
      short_side: to which photos are shrunk, in pixels.
      serialize: encodes the features `image`, `segmentation` and `image_id` as a record.
    """

    folder: Path
    names: Sequence[str]
    shard_name: ShardName
    photos: Archive
    labels: Archive
    short_side: int
    serialize: Serialize

    def __len__(self) -> int:
        return -(-len(self.names) // SHARD_LENGTH)

    def missing(self) -> list[int]:
        """Returns the indices of those that have not been written yet."""
        return [index for index in range(len(self)) if not self._path(index).exists()]

    def photos_of(self, index: int) -> Sequence[str]:
        """Returns the names of the photos in a shard."""
        return self.names[index * SHARD_LENGTH : (index + 1) * SHARD_LENGTH]

    def write(self, index: int, *, records: Callable[..., Iterable[_Record]] = map) -> None:
        """Writes a shard.

        Args:
          index: which.
          records: a `map`, used to read and shrink the photos.

        Raises:
          UserError: as `store_sample`, or if the folder cannot be written.
        """
        path, grey = self._path(index), []
        with replacing(path) as temporary:
            writer = ArrayRecordWriter(os.fspath(temporary), "group_size:1")  # each record can be read on its own
            try:
                for record in records(self._record, self.photos_of(index)):
                    writer.write(record.content)
                    grey += [record.image_id] if record.grey else []
            finally:
                writer.close()
            write_json(_grey_file(path), grey)

    def finished(self) -> list[Shard]:
        """Returns all of them, once they are written."""
        paths = map(self._path, range(len(self)))
        return [
            Shard(path, [_image_id(name) for name in self.photos_of(index)], read_json(_grey_file(path)))
            for index, path in enumerate(paths)
        ]

    def _path(self, index: int) -> Path:
        return self.folder / self.shard_name(index, len(self))

    def _record(self, name: str) -> _Record:
        sample = store_sample(
            name, label_map_of(name), photos=self.photos, labels=self.labels, short_side=self.short_side
        )
        image_id = _image_id(name)
        features = {"image": sample.image, "segmentation": sample.segmentation, "image_id": image_id}
        return _Record(self.serialize(features), image_id, sample.grey)


def write_shards(shards: Shards) -> list[Shard]:
    """Writes the shards of a split on all cores; keeps existing ones.

    Raises:
      UserError: as `Shards.write`.
    """
    missing = shards.missing()
    total = len(shards.names)
    left = sum(len(shards.photos_of(index)) for index in missing)
    description = f"preparing {PurePosixPath(shards.names[0]).parent}"
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=total, initial=total - left, desc=description, unit="photo") as progress,
    ):

        def counted(function: Callable[[str], _Record], names: Sequence[str]) -> Iterable[_Record]:
            for record in pool.map(function, names):
                yield record
                progress.update()

        for index in missing:
            shards.write(index, records=counted)
    return shards.finished()


def label_map_of(photo: str) -> str:
    """Returns the name of a photo's label map."""
    return str(PurePosixPath(photo).with_suffix(".png"))


def _grey_file(shard: Path) -> Path:
    return shard.with_name(shard.name + ".json")


def _image_id(name: str) -> int:
    return int(PurePosixPath(name).stem)
