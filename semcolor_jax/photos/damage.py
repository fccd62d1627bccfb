"""Handles truncated photos: how many rows are missing, and whether the photo is still worth colouring."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile

_JPEG_FILL = 128  # libjpeg's value for missing data, in every channel; other decoders leave 0
_LOCK = threading.Lock()


def bearable_rows(height: int) -> int:
    """Returns how many missing rows at the bottom still count as "a few": one block of a JPEG, or a hundredth."""
    return max(16, height // 100)


def missing_rows(image: Image.Image) -> int:
    """Returns how many rows at the bottom of a truncated photo are missing, wholly or at their right end."""
    fill = _JPEG_FILL if image.format in ("JPEG", "MPO") else 0
    end = np.asarray(image.crop((max(0, image.width - 8), 0, image.width, image.height)))
    there = (end.reshape(image.height, -1) != fill).any(axis=1)
    return image.height if not there.any() else int(np.argmax(there[::-1]))


@contextlib.contextmanager
def truncated_images_allowed() -> Iterator[None]:
    """Lets Pillow decode truncated files; the setting is process-wide, so one thread at a time."""
    with _LOCK:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
