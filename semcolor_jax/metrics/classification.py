"""Measures whether a classifier recognises coloured photos: semantic interpretability (Zhang et al. 2016, section 4.2).

VGG16 for ImageNet or for Places365 classifies the coloured photos, and the originals for comparison.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from semcolor_jax.errors import UserError
from semcolor_jax.formats.caffe import load_caffe_vgg16
from semcolor_jax.formats.keras_h5 import load_keras_vgg16
from semcolor_jax.formats.torch_vision import load_torch_vgg16
from semcolor_jax.formats.vgg16_weights import ClassifierWeights
from semcolor_jax.models.vgg16_classifier import classifier_for, input_side
from semcolor_jax.photos.files import list_images
from semcolor_jax.taxonomy.label_sets import PLACES365

CONVERTERS: Mapping[str, Callable[[Any], ClassifierWeights]] = {
    ".pth": load_torch_vgg16,
    ".h5": load_keras_vgg16,
    ".hdf5": load_keras_vgg16,
    ".caffemodel": load_caffe_vgg16,
}
"""Readers of VGG16's published weight files, by suffix."""


class Hits(NamedTuple):
    """For each photo, whether the true class is the likeliest, and among the five likeliest."""

    top1: np.ndarray
    top5: np.ndarray


class Classifier:
    """A VGG16 with its dense layers.

    Attributes:
      side: pixels a side of its input squares.

    Raises:
      UserError: on creation, if the file is missing, damaged, or has another number of classes.
    """

    def __init__(self, path: str | os.PathLike[str], *, classes: int):
        path = Path(path)
        if path.suffix not in CONVERTERS:
            raise UserError(f"{path} is of an unknown kind; known are {', '.join(CONVERTERS)}.")
        weights = CONVERTERS[path.suffix](path)
        try:
            network = classifier_for(weights.params)
        except ValueError as error:
            raise UserError(f"{path} is not VGG16: {error}.") from error
        if network.num_classes != classes:
            raise UserError(f"{path} knows {network.num_classes} classes, but {classes} are wanted.")
        self.side = input_side(weights.params)
        self._weights, self._params = weights, jax.device_put(dict(weights.params))

        @jax.jit
        def logits(params: Any, x: Array) -> Array:
            return jnp.asarray(network.apply({"params": params}, x))

        self._logits = logits

    def logits(self, photos: UInt8[np.ndarray, "B side side 3"]) -> Float[np.ndarray, "B classes"]:
        """Returns the logits of sRGB photos of the network's size."""
        return np.asarray(self._logits(self._params, self._weights.preprocess(photos)))


def rank_hits(logits: Float[np.ndarray, "B classes"], labels: np.ndarray) -> Hits:
    """Returns whether the labels (B,) rank first and in the first five; of equal logits the lower class ranks first."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = np.arange(logits.shape[1]) < labels[:, None]
    rank = np.sum((logits > own) | ((logits == own) & before), axis=1)
    return Hits(top1=rank < 1, top5=rank < 5)


def read_labels(path: Path, *, classes: int, names: Mapping[str, int]) -> dict[str, int]:
    """Reads lines `PHOTO CLASS`, the class a number from 0 or a name; returns classes by the photos' stems.

    Raises:
      UserError: the file cannot be read, or a line is malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"the labels {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the labels {path} cannot be read: they are not text in UTF-8.") from error
    labels = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        photo, _, name = line.strip().replace("\t", " ").rpartition(" ")
        label = int(name) if name.isdecimal() else names.get(name, -1)
        if not photo or not 0 <= label < classes:
            raise UserError(f"{path}, line {number}: {line.strip()!r} is not a photo and one of {classes} classes.")
        labels[Path(photo.strip()).stem] = label
    return labels


def folder_labels(folder: Path, *, names: Mapping[str, int]) -> dict[str, int]:
    """Returns the classes of the photos that lie in folders named after a class, by the photos' stems.

    A name may span several folders (`a/airfield`, `b/bedroom/indoor`); the longest match counts. A stem that occurs in
    several classes has none.
    """
    found: dict[str, set[int]] = {}
    for path in list_images(folder):
        parents = path.relative_to(folder).parent.parts
        candidates = ["/".join(parents[start:]) for start in range(len(parents))]
        label = next((names[name] for name in candidates if name in names), None)
        if label is not None:
            found.setdefault(path.stem, set()).add(label)
    return {stem: labels.pop() for stem, labels in found.items() if len(labels) == 1}


def imagenet_names(folder: Path) -> dict[str, int]:
    """Returns the classes, by name, of a folder with one subfolder per ImageNet class, 1000 in all.

    The published weights number the classes by their sorted WordNet ids. With fewer folders the numbers are unknown:
    then there are no names.
    """
    folders = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    return {name: index for index, name in enumerate(folders)} if len(folders) == 1000 else {}


def places365_names() -> dict[str, int]:
    """Returns the classes of Places365 by the names that their folders and lists may have."""
    names = {}
    for index, name in enumerate(PLACES365):
        names |= {name: index, name.replace("/", "-"): index, f"/{name[0]}/{name}": index}
    return names
