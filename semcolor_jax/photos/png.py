"""Writes PNG files with 16 bits per sample, which Pillow cannot write in colour."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from semcolor_jax.photos.photo import Photo

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IMAGE = (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS")


def encode_deep(photo: Photo, options: dict[str, Any]) -> bytes:
    """Returns a 16-bit PNG.

    imagecodecs (libpng) writes the pixels. The metadata chunks are Pillow's: it writes a one-pixel PNG with the
    `options` of an 8-bit photo, and all chunks but the picture's are copied.
    """
    import imagecodecs

    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    picture = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6))
    one_pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(one_pixel, format="PNG", **options)
    extra = [chunk for kind, chunk in _chunks(one_pixel.getvalue()) if kind not in _IMAGE]
    header, *rest = [chunk for _, chunk in _chunks(picture)]
    return b"".join([_SIGNATURE, header, *extra, *rest])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields each chunk's type and all of its bytes (PNG specification, 5.3)."""
    at = len(_SIGNATURE)
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at : at + 12 + size]
        at += 12 + size
