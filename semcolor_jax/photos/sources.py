"""Converts the types that Python callers use (paths, Pillow images, arrays) to photos."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from semcolor_jax.errors import UserError
from semcolor_jax.photos.photo import Origin, Photo
from semcolor_jax.photos.reading import photo_of_image, read_one

PhotoLike = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path, the content of a file, a Pillow image, or an array (see `photo_of`)."""


def photo_of(source: PhotoLike) -> Photo:
    """Returns the photo in a path, a Pillow image or an array; its pixels are a copy.

    Args:
      source: arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with alpha last; uint8 or uint16 sRGB, or floats in
        0..1, which become 16 bits. Pillow images are read through their profile and rotated by their EXIF.

    Raises:
      UserError: as `reading.read_pages`; an array of another shape, type or range.
    """
    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, Image.Image):
        if source.mode.startswith("I;16"):
            return _of_array(np.asarray(source, np.uint16))
        if source.mode in ("I", "F"):
            raise UserError(
                f"A Pillow image of mode {source.mode!r} has no known range: give an array of floats in 0..1."
            )
        return photo_of_image(source, Origin(format=source.format or "PNG"))
    return read_one(source)


def _of_array(array: np.ndarray) -> Photo:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise UserError(f"A photo's array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.shape}.")
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise UserError("A photo's array of floats must lie in 0..1.")
        array = np.rint(array * 0xFFFF).astype(np.uint16)
    if array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"A photo's array is uint8, uint16 or floats in 0..1, not {array.dtype}.")
    alpha = array[..., 3].copy() if array.shape[-1] == 4 else None
    pixels = np.array(np.broadcast_to(array[..., :3], (*array.shape[:2], 3)))
    return Photo(pixels=pixels, alpha=alpha, origin=Origin(format="PNG", bits=8 * array.dtype.itemsize))
