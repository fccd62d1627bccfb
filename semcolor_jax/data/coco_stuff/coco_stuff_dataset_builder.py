"""The TFDS builder `coco_stuff`: `tfds.builder("coco_stuff")` after importing this package, or `tfds build FOLDER`.

It does not derive from `GeneratorBasedBuilder`, which restarts an interrupted split, but writes its shards itself, in
parallel, and keeps finished ones. With Beam's options in the `DownloadConfig`, where `tfds build
--beam_pipeline_options` puts them, an engine writes the same files.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder
from tensorflow_datasets.core.splits import SplitDict

from semcolor_jax.data import beam
from semcolor_jax.data.archive import Archive, open_archive
from semcolor_jax.data.coco_stuff import published, shards
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.errors import UserError
from semcolor_jax.taxonomy.label_sets import COCO_STUFF

SHORT_SIDE = 256
"""Pixels: what training resizes to by default (config.data.short_side)."""

BYTES_PER_PHOTO = 50_000
"""At a short side of 256 pixels, label map included; measured on 200 COCO photos."""

SPLITS = {"train": "train2017", "validation": "val2017"}
"""Each split's folder in the archives, and the name of its archive of photos."""


@dataclasses.dataclass(eq=False)
class CocoStuffConfig(tfds.core.BuilderConfig):
    """The stored size of photos.

    Attributes:
      short_side: pixels; larger photos are shrunk to this, smaller ones stay as they are.
    """

    short_side: int = SHORT_SIDE


class Builder(FileReaderBuilder):
    """COCO-Stuff with photos and label maps reduced for training, in ArrayRecord files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [CocoStuffConfig(name=f"{SHORT_SIDE}px", description="Short side 256 pixels.")]
    code_path = tfds.core.Path(__file__)  # TFDS's own search needs importlib_resources, which it does not install
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Optional: a folder with " + ", ".join(published.PUBLISHED)

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        """Takes the arguments of every builder; `file_format` can only be "array_record", which has random access."""
        if file_format not in (None, "array_record", tfds.core.FileFormat.ARRAY_RECORD):
            raise UserError(f"coco_stuff is stored as array_record, for random access, not as {file_format}.")
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "segmentation": tfds.features.LabeledImage(
                        labels=list(COCO_STUFF), shape=(None, None, 1), encoding_format="png"
                    ),
                    "image_id": np.int64,
                }
            ),
            supervised_keys=("image", "segmentation"),
            homepage="https://github.com/nightrome/cocostuff",
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig | None = None
    ) -> None:
        """Prepares both splits next to the version's folder, then moves their shards into it.

        Raises:
          UserError: if an archive is missing, damaged or a different one, or the disk is too small.
        """
        manual = download_config.manual_dir if download_config else None
        folder = Path(self._data_dir).parent  # of the temporary folder, and so of the version's
        staging = (folder / f"{self.version}.partial").absolute()
        if manual:
            archives = published.find_archives(Path(manual))
        else:
            downloads = Path(dl_manager.download_dir, self.name)
            published.check_space(
                {
                    "to download": (downloads, published.bytes_to_download(downloads)),
                    "prepared": (folder, self._bytes_missing(sum(published.PHOTOS.values()), staging)),
                }
            )
            archives = published.download_archives(downloads)
        opened = {name: open_archive(path) for name, path in archives.items()}
        names = {split: self._find_photos(split, opened) for split in SPLITS}
        if manual:
            photos = sum(map(len, names.values()))
            published.check_space({"prepared": (folder, self._bytes_missing(photos, staging))})
        shards.open_staging(staging, archives, verify=published.verify_archives if manual else lambda archives: None)
        todo = {split: self._shards(split, names[split], opened, staging) for split in SPLITS}
        if download_config and (download_config.beam_runner or download_config.beam_options):
            self._write_on_engine(todo, archives, staging, download_config)
            finished = {split: parts.finished() for split, parts in todo.items()}
        else:
            finished = {split: shards.write_shards(parts) for split, parts in todo.items()}
        self._finish(finished)
        shutil.rmtree(staging)

    def _find_photos(self, split: str, archives: Mapping[str, Archive]) -> list[str]:
        photos = archives[f"{SPLITS[split]}.zip"]
        return shards.find_photos(SPLITS[split], photos=photos, labels=archives[published.LABEL_ARCHIVE])

    def _shards(self, split: str, names: Sequence[str], archives: Mapping[str, Archive], folder: Path) -> shards.Shards:
        template = self._get_filename_template(split)
        return shards.Shards(
            folder,
            names,
            shard_name=lambda index, count: template.sharded_filepath(shard_index=index, num_shards=count).name,
            photos=archives[f"{SPLITS[split]}.zip"],
            labels=archives[published.LABEL_ARCHIVE],
            short_side=self._short_side,
            serialize=self._serialize,
        )

    def _serialize(self, features: Mapping[str, Any]) -> bytes:
        """Returns a record, with features sorted by name: TFDS's own order varies between processes."""
        record = cast(tfds.features.FeaturesDict, self.info.features).serialize_example(features)
        return tf.train.Example.FromString(record).SerializeToString(deterministic=True)

    def _write_on_engine(
        self,
        todo: Mapping[str, shards.Shards],
        archives: Mapping[str, Path],
        staging: Path,
        config: tfds.download.DownloadConfig,
    ) -> None:
        """Writes the shards with Apache Beam. Raises `UserError` as `data.beam.share_out`, or if none result."""
        from semcolor_jax.data.coco_stuff.prepared import shard_writer  # which imports this module

        units = [(split, index) for split, parts in todo.items() for index in parts.missing()]
        places = {name: path.absolute() for name, path in archives.items()}
        if units:  # otherwise an interrupted run wrote them all
            beam.share_out(
                units,
                functools.partial(shard_writer, self._data_dir_root, self._short_side, places, staging),
                folder=staging,
                options=config.beam_options,
                runner=config.beam_runner,
            )
        if any(parts.missing() for parts in todo.values()):
            raise UserError(f"shards are missing in {staging}, {beam.SAME_PATHS}.")

    def shard_writer(self, archives: Mapping[str, Path], staging: Path) -> beam.Work[tuple[str, int]]:
        """Opens the archives; returns a function that writes a shard into `staging`, given its split and index."""
        opened = {name: open_archive(path) for name, path in archives.items()}
        todo = {split: self._shards(split, self._find_photos(split, opened), opened, staging) for split in SPLITS}

        def write(unit: tuple[str, int]) -> None:
            split, index = unit
            todo[split].write(index)

        return write

    def _finish(self, finished: Mapping[str, list[shards.Shard]]) -> None:
        """Moves the shards to where TFDS looks for them, and registers them."""
        infos = []
        for split, parts in finished.items():
            infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[len(part.image_ids) for part in parts],
                    num_bytes=sum(part.path.stat().st_size for part in parts),
                    filename_template=self._get_filename_template(split),
                )
            )
            for part in parts:
                os.replace(part.path, Path(self._data_dir, part.path.name))
        self.info.set_splits(SplitDict(infos))
        cast(tfds.core.MetadataDict, self.info.metadata).update(
            short_side=self._short_side,
            image_ids={split: [i for part in parts for i in part.image_ids] for split, parts in finished.items()},
            gray={split: [i for part in parts for i in part.grey] for split, parts in finished.items()},
        )

    def _bytes_missing(self, photos: int, staging: Path) -> int:
        """Returns the bytes that the photos will take, without the shards already written."""
        have = sum(path.stat().st_size for path in staging.glob("*"))
        return max(0, int(photos * BYTES_PER_PHOTO * (self._short_side / SHORT_SIDE) ** 2) - have)

    @property
    def _short_side(self) -> int:
        return cast(CocoStuffConfig, self.builder_config).short_side
