"""Reads a folder of photos, with or without label maps and scenes, as a data set.

DIR may be split into DIR/train and DIR/val, or not; below that come either photos anywhere, or

  images/NAME.jpg    photos
  labels/NAME.png    their label maps, 8-bit ids, of the photo as shown; may be missing for some

and in DIR itself there may be

  labels.json        {"ignore": id or null, "unlabeled": id or null, "classes": {"0": "sky", ...}}
  scenes.json        {photo's path below DIR: [[Places365 index or name, probability], up to 5 of them]}
  taxonomy.yaml      what the names of classes and folders mean; see `data.folder_tables`

A photo that scenes.json leaves out takes its scene from the nearest parent folder named after a Places365
category. Without DIR/val, every 20th photo is held out for validation, by a hash of its path, so that adding photos
moves no other. Grey photos are left out of every split: they have no colour to learn or to measure.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jaxtyping import Int64

from semcolor_jax.data.example import Sample, no_labels
from semcolor_jax.data.folder_tables import FolderTables, LabelTable, load_folder_tables
from semcolor_jax.data.scan import LabelFacts, PhotoFacts, read_label_ids, scan_labels, scan_photos
from semcolor_jax.data.supervision import Supervision
from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import PHOTO_SUFFIXES, list_images, read_photo

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example
    from semcolor_jax.data.folder_graph import FolderGraph

logger = logging.getLogger(__name__)

Split: TypeAlias = Literal["train", "val"]

HOLD_OUT = 20
"""One photo in this many is for validation, if the folder has no split of its own."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One photo of the folder.

    Attributes:
      name: its path below the folder, with forward slashes.
      photo: its file.
      labels: the file of its label map; None if it has none.
      part: the folder of its split, which names the cache of checks on its files.
      height: the photo's, in pixels.
      width: likewise.
      grey: whether it has no colour.
    """

    name: str
    photo: Path
    labels: Path | None
    part: Path
    height: int
    width: int
    grey: bool


class FolderSource:
    """The photos of a folder; each file is checked when the source is created.

    Attributes:
      name: the folder's name.
      names: the photos' paths below the folder.
      dropped: how many grey photos were left out.
    """

    def __init__(self, folder: str | os.PathLike[str], split: Split | None = None):
        """Scans one split of the folder, or all of it.

        Raises:
          UserError: if the folder or the split is missing or empty; or a photo or label map is damaged; or a label map
                differs in size from its photo, or has an id that labels.json does not name; or one of the
            folder's own tables is malformed.
        """
        root = Path(folder)
        self._tables = load_folder_tables(root)
        found = _find_entries(root, split, self._tables)
        self._entries = [entry for entry in found if not entry.grey]
        self.dropped = len(found) - len(self._entries)
        if self.dropped:
            logger.info("%s: left out %d grey of %d photos", root, self.dropped, len(found))
        if not self._entries:
            raise UserError(f"all {len(found)} photos in {root} are grey, so there is no colour to learn.")
        self.name = root.resolve().name
        self.names: Sequence[str] = [entry.name for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    @functools.cached_property
    def supervision(self) -> Supervision:
        """How many of the photos have a label map, and a scene."""
        return Supervision(
            photos=len(self),
            with_labels=sum(entry.labels is not None for entry in self._entries),
            with_scene=sum(bool(self._tables.scene(name).probabilities.any()) for name in self.names),
        )

    def read(self, index: int) -> Sample:
        """Returns sample `index`. Raises `UserError` if its files are gone or damaged since the scan."""
        entry = self._entries[index]
        image = read_photo(entry.photo)
        labels = no_labels(image)
        if entry.labels:
            labels = self._tables.labels.apply(read_label_ids(entry.labels))
        return Sample(entry.name, image, labels, *self._tables.scene(entry.name))

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph, with exactly the pixels of `read`."""
        return self._graph.load(index)

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each photo in pixels, without reading any."""
        return np.array([(entry.height, entry.width) for entry in self._entries], np.int64)

    @functools.cached_property
    def _graph(self) -> FolderGraph:
        from semcolor_jax.data.folder_graph import FolderGraph  # here, because `read` does not need TensorFlow

        return FolderGraph(self._entries, self._tables, read=self.read)


def list_photos(folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the files of all photos of all splits, grey ones included, without opening any.

    Raises:
      UserError: if the folder is missing, or a split has no photos.
    """
    return [photo for part in _parts(Path(folder)) for photo in _photos_of(part)]


def hold_out(names: Sequence[str]) -> frozenset[str]:
    """Returns the names for validation: those with a hash divisible by `HOLD_OUT`, but at least one."""
    hashes = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) for name in names}
    held = frozenset(name for name, number in hashes.items() if number % HOLD_OUT == 0)
    return held or frozenset(sorted(names, key=hashes.__getitem__)[:1])


def _find_entries(root: Path, split: Split | None, tables: FolderTables) -> list[Entry]:
    """Returns all photos of the split, grey ones included."""
    if split not in (None, "train", "val"):
        raise UserError(f"{root} has no split {split!r}; take 'train' or 'val'.")
    parts = _parts(root)
    if len(parts) == 2:
        wanted = [part for part in parts if split in (None, part.name)]
        return [entry for part in wanted for entry in _scan_part(part, root, tables.labels)]
    entries = _scan_part(parts[0], root, tables.labels)
    return entries if split is None else _undivided(entries, root, split)


def _parts(root: Path) -> list[Path]:
    """Returns the folders of the splits, or the one folder to be split."""
    parts = [root / part for part in ("train", "val") if (root / part).is_dir()]
    return [root] if [part.name for part in parts] in ([], ["val"]) else parts


def _photos_of(part: Path) -> list[Path]:
    folder = part / "images" if (part / "images").is_dir() else part
    photos = list_images(folder)
    if not photos:
        raise UserError(f"there are no photos in {folder}; known are {', '.join(PHOTO_SUFFIXES)}.")
    return photos


def _undivided(entries: list[Entry], root: Path, split: Split) -> list[Entry]:
    held = hold_out([entry.name for entry in entries if not entry.grey])
    chosen = [entry for entry in entries if (entry.name in held) == (split == "val")]
    if not chosen:
        raise UserError(f"{root} has too few photos in colour to hold one out for validation: add some.")
    return chosen


def _scan_part(part: Path, root: Path, table: LabelTable) -> list[Entry]:
    photos, folder = _photos_of(part), part / "images"
    labels = _find_labels(photos, folder, root / "labels.json") if folder.is_dir() else {}
    photo_facts = dict(zip(photos, scan_photos(photos, root=part), strict=True))
    label_facts = dict(zip(labels, scan_labels(list(labels.values()), root=part), strict=True))
    for photo, facts in label_facts.items():
        _check_labels(labels[photo], facts, photo_facts[photo], table)
    if turned := sum(photo_facts[photo].turned for photo in label_facts):
        logger.info(
            "%s: %d photo%s with a label map %s turned by EXIF; a label map belongs to the photo as it is shown",
            *(part, turned, *(("", "is") if turned == 1 else ("s", "are"))),
        )
    return [
        Entry(
            name=photo.relative_to(root).as_posix(),
            photo=photo,
            labels=labels.get(photo),
            part=part,
            height=facts.height,
            width=facts.width,
            grey=facts.grey,
        )
        for photo, facts in photo_facts.items()
    ]


def _find_labels(photos: Sequence[Path], images: Path, table: Path) -> dict[Path, Path]:
    """Returns the label map of each photo that has one."""
    folder = images.with_name("labels")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    maps = {file.relative_to(folder).with_suffix(""): file for file in files if file.suffix.lower() == ".png"}
    others = {file.relative_to(folder).with_suffix(""): file for file in files if file.suffix.lower() != ".png"}
    stems = {photo: photo.relative_to(images).with_suffix("") for photo in photos}
    found = {photo: maps[stem] for photo, stem in stems.items() if stem in maps}
    for stem in stems.values():
        if stem not in maps and stem in others:
            raise UserError(f"the label map {others[stem]} is no PNG: save it as a PNG with one 8-bit id per pixel.")
    if not found and files:
        raise UserError(f"no file in {folder} is called like a photo, such as {stems[photos[0]].name}.png.")
    if found and not table.is_file():
        raise UserError(f"{folder} has label maps, but there is no {table} that names their ids.")
    return found


def _check_labels(path: Path, labels: LabelFacts, photo: PhotoFacts, table: LabelTable) -> None:
    if (labels.height, labels.width) != (photo.height, photo.width):
        sizes = f"{labels.width} x {labels.height} pixels, but its photo is {photo.width} x {photo.height}"
        if photo.turned and (labels.width, labels.height) == (photo.height, photo.width):
            raise UserError(
                f"the label map {path} is {sizes}: EXIF turns the photo, so turn the map, too, as it is shown."
            )
        raise UserError(f"the label map {path} is {sizes}: make it as large as the photo.")
    unknown = sorted(set(labels.ids) - table.known)
    if unknown:
        ids = ", ".join(map(str, unknown[:5]))
        raise UserError(f"the label map {path} holds the id {ids}, which labels.json does not name.")
