"""The embedded data set: crops of seven photos that scikit-image and scikit-learn install, labelled by hand.

It allows a first training in minutes, without any download. The photos are read from the installed packages;
`embedded_labels/` holds one file per photo with its credit, its coarse segmentation polygons (in painter's order), its
scene, and the window that is kept for validation. Training crops never touch that window, so that no pixel is in both
splits. The second motorcycle photo of scikit-image shows the same scene from 19 cm to the side and is left out.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFilter

from semcolor_jax.data.example import Example, Sample, Scene
from semcolor_jax.errors import UserError
from semcolor_jax.taxonomy.label_sets import IGNORE, IGNORE_LABEL, coco_stuff_id, places365_id

if TYPE_CHECKING:
    import tensorflow as tf

Split: TypeAlias = Literal["train", "val"]

CROP_SIDE = 160
"""Pixels a side that every crop is resized to."""

TRAIN_SIDES = (128, 192, 288)
"""Pixels a side of the training windows in the photo; neighbours are at most half of it apart."""

VAL_SIDE = 128
"""Pixels a side of the smaller validation windows; the others fill the validation region's short side."""

BORDER = 2
"""Pixels ignored on either side of a hand-drawn border: about the precision of the drawing."""


class Box(NamedTuple):
    """Pixels left..right-1, top..bottom-1 of a photo."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def short_side(self) -> int:
        """Pixels."""
        return min(self.right - self.left, self.bottom - self.top)


class Polygon(NamedTuple):
    """A region of a photo: COCO-Stuff name or "ignore", and corners (x, y) in pixels."""

    name: str
    points: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo's entry in `embedded_labels/`.

    Attributes:
      name: the name of its file there.
      package: the installed package that contains the photo.
      file: its path inside that package.
      size: width and height in pixels.
      credit: who took the photo.
      licence: its licence.
      scenes: probabilities of five Places365 categories, sum 1.
      validation: the window that no training crop touches.
      polygons: its segmentation; later ones cover earlier ones.
    """

    name: str
    package: str
    file: str
    size: tuple[int, int]
    credit: str
    licence: str
    scenes: Mapping[str, float]
    validation: Box
    polygons: tuple[Polygon, ...]


class EmbeddedSource:
    """Crops of the embedded photos, all of one size, in memory (41 MB for "train").

    The windows differ in size. They are resized once, on the host, so that inside tf.data a sample is one row of four
    arrays: nothing is decoded, cropped or resized in the graph, and `load` and `read` agree to the last bit.
    """

    name = "embedded"

    def __init__(self, split: Split):
        crops = [
            _crop(photo, window)
            for description, photo in zip(descriptions(), photos(), strict=True)
            for window in windows(description, split=split)
        ]
        self.names: Sequence[str] = tuple(crop.name for crop in crops)
        self._arrays = {
            key: np.stack([getattr(crop, key) for crop in crops])
            for key in ("image", "labels", "scene_index", "scene_prob")
        }

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Sample:
        """Returns crop `index`: `CROP_SIDE` pixels square."""
        return Sample(self.names[index], **{key: array[index] for key, array in self._arrays.items()})

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each crop in pixels."""
        return np.full((len(self), 2), CROP_SIDE, np.int64)

    def load(self, index: tf.Tensor) -> Example:
        """Returns crop `index` (int64 scalar) inside a tf.data graph."""
        return {key: tensor[index] for key, tensor in self._tensors.items()}

    @functools.cached_property
    def _tensors(self) -> dict[str, tf.Tensor]:
        from semcolor_jax.data.cpu_tf import tf  # here, because `photos` and `read` do not need TensorFlow

        # Outside the calling graph: all graphs share the tensors, and none holds them as constants.
        with tf.init_scope():
            return {key: tf.constant(array) for key, array in self._arrays.items()}


@functools.cache
def photos() -> tuple[Sample, ...]:
    """Returns the whole photos with their label maps and scenes, in the order of `descriptions`.

    Raises:
      UserError: if a photo is missing from its package, or is not the labelled one.
    """
    return tuple(_sample(photo) for photo in descriptions())


@functools.cache
def descriptions() -> tuple[Photo, ...]:
    """Returns the description of each photo, ordered by name."""
    folder = resources.files("semcolor_jax.data") / "embedded_labels"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return tuple(
        _description(file.removesuffix(".json"), json.loads((folder / file).read_text(encoding="utf-8")))
        for file in files
    )


def draw_labels(photo: Photo) -> UInt8[np.ndarray, "h w"]:
    """Returns the photo's label map: its polygons painted in order, and their borders ignored."""
    canvas = Image.new("L", photo.size, IGNORE_LABEL)
    draw = ImageDraw.Draw(canvas)
    for polygon in photo.polygons:
        label = IGNORE_LABEL if polygon.name == IGNORE else coco_stuff_id(polygon.name)
        draw.polygon(polygon.points, fill=label)
    reach = 2 * BORDER + 1
    highest = np.asarray(canvas.filter(ImageFilter.MaxFilter(reach)))
    lowest = np.asarray(canvas.filter(ImageFilter.MinFilter(reach)))
    return np.where(highest == lowest, highest, IGNORE_LABEL).astype(np.uint8)


def scene(photo: Photo) -> Scene:
    """Returns the photo's five categories."""
    return Scene(
        indices=np.array([places365_id(name) for name in photo.scenes], np.int32),
        probabilities=np.array(list(photo.scenes.values()), np.float32),
    )


def windows(photo: Photo, *, split: Split) -> tuple[Box, ...]:
    """Returns the square windows of a photo that belong to a split, in a fixed order, each once.

    "val" takes squares of two sizes at both ends of the photo's validation region. "train" tiles, at the
    sizes of `TRAIN_SIDES`, the four strips that lie wholly to the left, right, above and below of that
    region.

    Raises:
      UserError: if there is no such split.
    """
    if split == "val":
        return tuple(dict.fromkeys(_ends(photo.validation)))
    if split != "train":
        raise UserError(f"The embedded photos have no split {split!r}; take 'train' or 'val'.")
    width, height = photo.size
    kept = photo.validation
    strips = (
        Box(0, 0, kept.left, height),
        Box(kept.right, 0, width, height),
        Box(0, 0, width, kept.top),
        Box(0, kept.bottom, width, height),
    )
    boxes = (box for strip in strips for side in TRAIN_SIDES for box in _tiles(strip, side))
    return tuple(dict.fromkeys(boxes))


def _ends(region: Box) -> Iterator[Box]:
    for side in (VAL_SIDE, region.short_side):
        yield Box(region.left, region.top, region.left + side, region.top + side)
        yield Box(region.right - side, region.bottom - side, region.right, region.bottom)


def _tiles(region: Box, side: int) -> Iterator[Box]:
    if side <= region.short_side:
        for top in _starts(region.top, region.bottom, side):
            for left in _starts(region.left, region.right, side):
                yield Box(left, top, left + side, top + side)


def _starts(low: int, high: int, side: int) -> list[int]:
    """Evenly spaced starts of intervals of length `side`, from `low` to `high - side`, at most half a side apart."""
    count = 1 + -(-(high - low - side) * 2 // side)
    return np.linspace(low, high - side, count).round().astype(int).tolist()


def _sample(photo: Photo) -> Sample:
    categories = scene(photo)
    return Sample(
        name=photo.name,
        image=_read_image(photo),
        labels=draw_labels(photo),
        scene_index=categories.indices,
        scene_prob=categories.probabilities,
    )


def _crop(photo: Sample, window: Box) -> Sample:
    size = (CROP_SIDE, CROP_SIDE)
    image = Image.fromarray(photo.image).crop(window).resize(size, Image.Resampling.BILINEAR)  # antialiased
    labels = Image.fromarray(photo.labels).crop(window).resize(size, Image.Resampling.NEAREST)
    return Sample(
        name=f"{photo.name}/{window.left}_{window.top}_{window.short_side}",
        image=np.asarray(image),
        labels=np.asarray(labels),
        scene_index=photo.scene_index,
        scene_prob=photo.scene_prob,
    )


def _read_image(photo: Photo) -> UInt8[np.ndarray, "h w 3"]:
    found = importlib.util.find_spec(photo.package)  # finds the folder without importing the package
    if found is None or found.origin is None:
        raise UserError(f"The embedded photos need {photo.package}: pip install 'semcolor-jax[train]'.")
    path = Path(found.origin).parent / photo.file
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise UserError(f"The embedded photo {path} cannot be read; reinstall {photo.package}.") from error
    if pixels.shape[1::-1] != photo.size:
        raise UserError(f"The embedded photo {path} is not the labelled one of size {photo.size}.")
    return pixels


def _description(name: str, table: Mapping[str, Any]) -> Photo:
    return Photo(
        name=name,
        package=table["package"],
        file=table["file"],
        size=(table["size"][0], table["size"][1]),
        credit=table["credit"],
        licence=table["licence"],
        scenes=table["scenes"],
        validation=Box(*table["validation"]),
        polygons=tuple(
            Polygon(polygon["class"], tuple((x, y) for x, y in polygon["points"])) for polygon in table["polygons"]
        ),
    )
