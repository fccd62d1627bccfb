"""Reads the samples of prepared COCO-Stuff, with random access."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from semcolor_jax.data.coco_stuff.coco_stuff_dataset_builder import SPLITS
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.example import Example, Sample
from semcolor_jax.data.folder import Split
from semcolor_jax.data.folder_tables import load_folder_tables
from semcolor_jax.data.supervision import Supervision
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

_TFDS_SPLIT = {"train": "train", "val": "validation"}
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "segmentation": tf.io.FixedLenFeature([], tf.string),
}


class CocoStuffSource:
    """One split of COCO-Stuff as `Builder` prepared it, without the grey photos, which have no colour to learn.

    Scenes come from DIR/coco_stuff/scenes.json if it exists, in the format of `data.folder_tables`, with the photos'
    published names.

    Attributes:
      name: "coco_stuff".
      names: the photos as published, such as "train2017/000000000009.jpg".
      dropped: how many grey photos were left out.
    """

    name = "coco_stuff"

    def __init__(self, folder: str | os.PathLike[str], split: Split):
        """Opens a version's folder, DIR/coco_stuff/CONFIG/VERSION. Raises `UserError` if it is damaged."""
        self._folder, tfds_split = Path(folder), _TFDS_SPLIT[split]
        try:
            builder: Any = tfds.builder_from_directory(self._folder)  # Any: TFDS's decorators hide its signatures
            image_ids, grey = (builder.info.metadata[key][tfds_split] for key in ("image_ids", "gray"))
            info = builder.info.splits[tfds_split]
            size = sum(Path(shard).stat().st_size for shard in info.filepaths)
            if size != info.num_bytes:
                raise ValueError(f"{size:,} bytes of shards instead of {info.num_bytes:,}")
            self._records = builder.as_data_source(
                tfds_split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
            )
        except Exception as error:  # TFDS's errors on missing or broken files
            raise UserError(
                f"the COCO-Stuff in {folder} is damaged ({error}): delete it and prepare it anew."
            ) from error
        self._places = np.flatnonzero(~np.isin(image_ids, grey))
        self.names: Sequence[str] = [f"{SPLITS[tfds_split]}/{image_ids[place]:012d}.jpg" for place in self._places]
        self.dropped = len(grey)
        if self.dropped:
            logger.info("coco_stuff, %s: left out %d grey of %d photos", split, self.dropped, len(image_ids))

    def __len__(self) -> int:
        return len(self._places)

    @functools.cached_property
    def supervision(self) -> Supervision:
        """Every photo has a label map; scenes.json says which have a scene."""
        tables = load_folder_tables(self._folder.parents[1])
        with_scene = sum(bool(tables.scene(name).probabilities.any()) for name in self.names)
        return Supervision(photos=len(self), with_labels=len(self), with_scene=with_scene)

    def read(self, index: int) -> Sample:
        """Returns sample `index`. Raises `UserError` if the files are missing or damaged."""
        example = self._decode(tf.constant(self._record(index)), index)
        return Sample(self.names[index], **{key: value.numpy() for key, value in example.items()})

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph, with exactly the pixels of `read`."""

        def record(index: np.int64) -> np.ndarray:
            return np.array(self._record(int(index)), object)  # a bytes array would lose zeros at the end

        return self._decode(tf.ensure_shape(tf.numpy_function(record, [index], tf.string), []), index)

    def _record(self, index: int) -> bytes:
        try:
            return self._records[int(self._places[index])]
        except IndexError:
            raise
        except Exception as error:  # the reader's errors on missing or broken files
            where = f"{self._folder} is damaged at {self.names[index]}"
            raise UserError(f"the COCO-Stuff in {where} ({error}): delete it, prepare it anew.") from error

    def _decode(self, record: tf.Tensor, index: int | tf.Tensor) -> Example:
        stored = tf.io.parse_single_example(record, _FEATURES)
        labels = tf.io.decode_png(stored["segmentation"], channels=1)
        return {
            # The accurate transform is Pillow's; TensorFlow's default is off by up to 9 levels.
            "image": tf.io.decode_jpeg(stored["image"], channels=3, dct_method="INTEGER_ACCURATE"),
            "labels": tf.squeeze(labels, -1),
            "scene_index": self._scenes["scene_index"][index],
            "scene_prob": self._scenes["scene_prob"][index],
        }

    @functools.cached_property
    def _scenes(self) -> dict[str, tf.Tensor]:
        tables = load_folder_tables(self._folder.parents[1])
        scenes = [tables.scene(name) for name in self.names]
        with tf.init_scope():  # so that all graphs share the tensors, and none holds them as constants
            return {
                "scene_index": tf.constant(np.stack([scene.indices for scene in scenes])),
                "scene_prob": tf.constant(np.stack([scene.probabilities for scene in scenes])),
            }
