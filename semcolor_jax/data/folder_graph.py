"""Loads a folder's photos in a tf.data graph, decoded by TensorFlow where it decodes them as Pillow does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.example import Example, Sample
from semcolor_jax.data.folder_tables import FolderTables
from semcolor_jax.data.scan import decodes_alike
from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL

if TYPE_CHECKING:
    from semcolor_jax.data.folder import Entry


class FolderGraph:
    """What `FolderSource.load` needs: paths, scenes and the labels' meaning as tensors."""

    def __init__(self, entries: Sequence[Entry], tables: FolderTables, *, read: Callable[[int], Sample]):
        """Tries TensorFlow's decoders on every file that has not been tried yet."""
        self._read = read
        scenes = [tables.scene(entry.name) for entry in entries]
        # Outside the first calling graph: all graphs share the tensors, and none holds them as constants.
        with tf.init_scope():
            self._columns = {
                "photo": tf.constant([os.fspath(entry.photo) for entry in entries]),
                "labels": tf.constant([os.fspath(entry.labels or "") for entry in entries]),
                "native": tf.constant(native(entries)),
                "scene_index": tf.constant(np.stack([scene.indices for scene in scenes])),
                "scene_prob": tf.constant(np.stack([scene.probabilities for scene in scenes])),
                "label_of_id": tf.constant(tables.labels.labels),
            }

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar)."""
        columns = self._columns
        image, labels = tf.cond(
            columns["native"][index], lambda: self._decode(index), lambda: self._decode_on_host(index)
        )
        return {
            "image": tf.ensure_shape(image, [None, None, 3]),
            "labels": tf.ensure_shape(labels, [None, None]),
            "scene_index": columns["scene_index"][index],
            "scene_prob": columns["scene_prob"][index],
        }

    def _decode(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns photo and labels from TensorFlow's decoders: no Python, so in parallel."""
        image, labels_path = decode_photo(self._columns["photo"][index]), self._columns["labels"][index]

        def read_labels() -> tf.Tensor:
            return tf.gather(self._columns["label_of_id"], tf.cast(decode_label_ids(labels_path), tf.int32))

        def ignore_all() -> tf.Tensor:
            return tf.fill(tf.shape(image)[:2], tf.constant(IGNORE_LABEL, tf.uint8))

        return image, tf.cond(tf.equal(labels_path, ""), ignore_all, read_labels)

    def _decode_on_host(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def read(index: np.int64) -> tuple[np.ndarray, np.ndarray]:
            sample = self._read(int(index))
            return sample.image, sample.labels

        return tuple(tf.numpy_function(read, [index], (tf.uint8, tf.uint8)))


def decode_photo(path: tf.Tensor) -> tf.Tensor:
    """Returns a photo inside a tf.data graph: that of `read_photo`, where `native` says so."""
    # Reads PNG too. The accurate transform is Pillow's; TensorFlow's default is off by up to 9 levels.
    return tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE")


def decode_label_ids(path: tf.Tensor) -> tf.Tensor:
    """Returns ids inside a tf.data graph: those of `read_label_ids`, if `native` says so."""
    return tf.squeeze(tf.io.decode_png(tf.io.read_file(path), channels=1), -1)


def native(entries: Sequence[Entry]) -> list[bool]:
    """Tells for each entry whether TensorFlow's decoders give the pixels of `read_photo` and `read_label_ids`."""
    verdicts: list[bool] = []
    for part, group in itertools.groupby(entries, key=lambda entry: entry.part):
        own = list(group)
        labels = [entry.labels for entry in own if entry.labels]
        photo_alike = decodes_alike([e.photo for e in own], _eagerly(decode_photo), kind="photos", root=part)
        labels_alike = decodes_alike(labels, _eagerly(decode_label_ids), kind="labels", root=part)
        alike: dict[Path | None, bool] = dict(zip(labels, labels_alike, strict=True))
        verdicts += [photo and alike.get(entry.labels, True) for entry, photo in zip(own, photo_alike, strict=True)]
    return verdicts


def _eagerly(decoder: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[Path], np.ndarray]:
    def decode(path: Path) -> np.ndarray:
        try:
            return np.asarray(decoder(tf.constant(os.fspath(path))))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(str(error)) from error

    return decode
