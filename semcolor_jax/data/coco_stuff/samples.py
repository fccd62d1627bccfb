"""Shrinks a published COCO-Stuff photo and its label map to the stored sample."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semcolor_jax.data.archive import Archive, open_image_in
from semcolor_jax.data.scan import is_grey
from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import decode, load_pixels

RAW_UNLABELED = 255
"""Pixel value of unlabelled pixels in the published label maps; class v has pixel value v - 1."""

_CLASSES = 182
_ORIENTATION_TAG = 0x0112


class StoredSample(NamedTuple):
    """One sample, shrunk and re-encoded.

    Attributes:
      image: JPEG, RGB.
      segmentation: PNG of the classes 0..182, as large as the photo.
      grey: whether the photo has no colour.
    """

    image: bytes
    segmentation: bytes
    grey: bool


def store_sample(photo: str, label_map: str, *, photos: Archive, labels: Archive, short_side: int) -> StoredSample:
    """Shrinks a photo and its label map to a short side in pixels; smaller ones stay as they are.

    Args:
      photo: the photo's name in `photos`. Any kind of photo becomes RGB, as `photos.files.decode` says.
      label_map: its label map's name in `labels`.
      photos: the archive of photos.
      labels: the archive of label maps.
      short_side: in pixels.

    Raises:
      UserError: if one of them is damaged, or the label map differs in size from the photo, is not an 8-bit grey image,
            or has an id that is no class.
    """
    with open_image_in(photos, photo) as opened:
        opened.getexif().pop(_ORIENTATION_TAG, None)  # label maps belong to the photo as stored
        image = Image.fromarray(decode(opened, f"{photos.path}: {photo}"))
    classes = Image.fromarray(_read_classes(label_map, labels))
    if classes.size != image.size:
        raise UserError(f"{labels.path}: {label_map} has {_size(classes)} pixels, but its photo has {_size(image)}.")
    scale = min(1.0, short_side / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.LANCZOS)
    return StoredSample(
        # No chroma subsampling: it would blur exactly what this project makes.
        image=_encode(image, format="JPEG", quality=95, subsampling=0),
        segmentation=_encode(classes.resize(size, Image.Resampling.NEAREST), format="PNG"),
        grey=is_grey(np.asarray(image)),
    )


def _read_classes(name: str, labels: Archive) -> UInt8[np.ndarray, "h w"]:
    with open_image_in(labels, name) as opened:
        if opened.mode != "L":
            raise UserError(f"{labels.path}: {name} is no label map: 8-bit grey is wanted, not {opened.mode}.")
        load_pixels(opened, f"{labels.path}: {name}")
        raw = np.asarray(opened)
    unknown = raw[(raw >= _CLASSES) & (raw != RAW_UNLABELED)]
    if unknown.size:
        raise UserError(f"{labels.path}: {name} holds the id {unknown[0]}, but ids are 0..181, and 255 for unlabeled.")
    return raw + np.uint8(1)  # 255 becomes 0


def _encode(image: Image.Image, *, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"
