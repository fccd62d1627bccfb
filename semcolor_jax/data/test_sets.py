"""Reads the test sets of the colorization literature: the published archive or its unpacked folder, nothing else.

`config.data.source` names the set and `config.data.dir` the archive, or a folder that holds the archive or the photos
anywhere below. Single photos are read out of the archive; nothing is unpacked. Grey photos stay in, because papers
average over all photos of a set, but they are counted. There are no labels and no scenes.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from semcolor_jax.data.archive import Archive, open_archive, open_image_in
from semcolor_jax.data.example import Sample, no_labels, no_scene
from semcolor_jax.data.folder import Split
from semcolor_jax.data.scan import is_grey
from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import decode
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example

logger = logging.getLogger(__name__)

_REPORT_FROM = 100  # photos; fewer take seconds


@dataclasses.dataclass(frozen=True)
class PublishedSet:
    """A test set as it is published.

    Attributes:
      archives: names of the archives, any one of which suffices.
      where: the page that publishes them, and their size.
      pattern: regular expression of the photos' file names.
      total: number of photos in the archive; None if irrelevant.
      count: the test set is this many of them, the first by file name.
      numbering: file name of the i-th photo, from `first` on; None if the names have gaps.
      first: number of the first photo.
    """

    archives: tuple[str, ...]
    where: str
    pattern: str
    total: int | None
    count: int
    numbering: str | None = None
    first: int = 1

    @property
    def expected(self) -> list[str]:
        """The file names of the test set, if known in advance."""
        return [self.numbering.format(self.first + i) for i in range(self.count)] if self.numbering else []


TEST_SETS = {
    "imagenet_ctest1k": PublishedSet(
        archives=("ILSVRC2012_img_val.tar",),
        where="https://image-net.org/challenges/LSVRC/2012/2012-downloads.php (6.7 GB, after registering)",
        pattern=r"ILSVRC2012_val_\d{8}\.JPEG",
        total=50_000,
        count=1000,
        numbering="ILSVRC2012_val_{:08d}.JPEG",
    ),
    "places365_ctest1k": PublishedSet(
        archives=("val_256.tar", "val_large.tar"),
        where="http://places2.csail.mit.edu/download.html (0.5 GB at 256 x 256, 2.1 GB large)",
        pattern=r"Places365_val_\d{8}\.jpg",
        total=36_500,
        count=1000,
        numbering="Places365_val_{:08d}.jpg",
    ),
    "coco_stuff_ctest1k": PublishedSet(
        archives=("val2017.zip",),
        where="http://images.cocodataset.org/zips/val2017.zip (0.8 GB)",
        pattern=r"\d{12}\.jpg",
        total=5000,
        count=1000,
    ),
    "div2k_valid": PublishedSet(
        archives=("DIV2K_valid_HR.zip",),
        where="https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip (0.4 GB)",
        pattern=r"\d{4}\.png",
        total=100,
        count=100,
        numbering="{:04d}.png",
        first=801,
    ),
}
"""By the name that `config.data.source` gives."""


class PublishedTestSource:
    """A published test set.

    Attributes:
      name: of the set.
      names: the photos' file names, sorted.
      grey: how many of the photos are grey; they stay in.
    """

    def __init__(self, name: str, path: str | os.PathLike[str], split: Split = "val", *, limit: int | None = None):
        """Finds the photos and decodes each once, so that a damaged one is reported now and not at the end.

        Args:
          name: of `TEST_SETS`.
          path: the archive, or a folder with the archive or the photos.
          split: "val"; there is no other.
          limit: takes only this many photos, the first ones, for a trial; the archive then need not hold more.

        Raises:
          UserError: for another split; or if photos are missing, damaged, or more than published.
        """
        if split != "val":
            raise UserError(f"{name} is a test set and has no split {split!r}: evaluate on it with the split 'val'.")
        self.name = name
        published = TEST_SETS[name]
        if limit is not None:
            published = dataclasses.replace(published, count=min(limit, published.count), total=None)
        self._archive = _open(published, Path(path))
        self._members = _find_members(name, published, self._archive)
        self.names: Sequence[str] = list(self._members)
        self.grey = self._count_grey()
        if self.grey:
            logger.info("%s: %d of %d photos are grey; they are kept", name, self.grey, len(self))

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Sample:
        """Returns sample `index`. Raises `UserError` if the archive is gone or damaged."""
        image = self._photo(self.names[index])
        return Sample(self.names[index], image, no_labels(image), *no_scene())

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph, by way of `read`."""
        from semcolor_jax.data.cpu_tf import tf  # here, because `read` does not need TensorFlow

        image = tf.numpy_function(lambda i: self._photo(self.names[int(i)]), [index], tf.uint8)
        image = tf.ensure_shape(image, [None, None, 3])
        return {
            "image": image,
            "labels": tf.fill(tf.shape(image)[:2], tf.constant(IGNORE_LABEL, tf.uint8)),
            "scene_index": tf.constant(no_scene().indices),
            "scene_prob": tf.constant(no_scene().probabilities),
        }

    def _photo(self, name: str) -> UInt8[np.ndarray, "h w 3"]:
        member = self._members[name]
        with open_image_in(self._archive, member) as image:
            return decode(image, f"{self._archive.path}: {member}")

    def _count_grey(self) -> int:
        progress = tqdm(total=len(self), desc=f"checking {self.name}", unit="photo", disable=len(self) < _REPORT_FROM)
        grey = 0
        with progress, ThreadPoolExecutor(os.cpu_count()) as pool:
            for found in pool.map(lambda name: is_grey(self._photo(name)), self.names):
                grey += found
                progress.update()
        return grey


def _open(published: PublishedSet, path: Path) -> Archive:
    """Opens the archive, the archive in the folder, or the folder."""
    inside = [path / name for name in published.archives if (path / name).is_file()]
    if not path.exists():
        raise UserError(f"there is no {path}: {_how_to_get(published)}.")
    return open_archive(inside[0] if inside else path, wanted=published.expected)


def _find_members(name: str, published: PublishedSet, archive: Archive) -> dict[str, str]:
    """Returns the test set's photos: path in the archive by file name, sorted.

    Raises:
      UserError: if some are missing, or cannot be told from other photos.
    """
    members: dict[str, str] = {}
    for member in sorted(archive.names):
        file = PurePosixPath(member).name
        if re.fullmatch(published.pattern, file) and members.setdefault(file, member) != member:
            raise UserError(f"{archive.path} holds {file} twice, as {members[file]} and {member}: keep one.")
    if published.expected:
        missing = [file for file in published.expected if file not in members]
        if missing:
            lacks = f"{archive.path} lacks {len(missing):,} of the {published.count:,} photos of {name}"
            raise UserError(f"{lacks}, the first being {missing[0]}: {_how_to_get(published)}.")
    elif len(members) < published.count or published.total not in (None, len(members)):
        raise UserError(
            f"{archive.path} holds {len(members):,} photos named like {name}'s, but {TEST_SETS[name].total:,} are "
            f"published, of which the first {published.count:,} count: {_how_to_get(published)}."
        )
    return {file: members[file] for file in published.expected or sorted(members)[: published.count]}


def _how_to_get(published: PublishedSet) -> str:
    return f"{' or '.join(published.archives)} is published at {published.where}"
