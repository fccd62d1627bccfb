"""Real photos and distorted versions of them, from the embedded photos or others."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from semcolor_jax.data.embedded import photos


def photo_pairs(
    count: int, *, side: int = 64, images: Sequence[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns crops (count, side, side, 3) and versions with noise, blur, less colour, other colour or shifted.

    Of the embedded photos, unless `images` are given, at least 4 pixels larger than the crops.
    """
    images = [photo.image for photo in photos()] if images is None else images
    rng = np.random.default_rng(5)
    truths, others = [], []
    for index in range(count):
        photo = images[index % len(images)]
        top, left = (rng.integers(0, length - side - 4) for length in photo.shape[:2])
        window = photo[top : top + side, left : left + side]
        grey = window.mean(-1, keepdims=True)
        versions = [
            window + rng.normal(0, 25, window.shape),
            np.asarray(Image.fromarray(window).filter(ImageFilter.GaussianBlur(2))),
            grey + 0.3 * (window - grey),
            window[..., ::-1],
            photo[top + 4 : top + 4 + side, left + 4 : left + 4 + side],
        ]
        truths.append(window)
        others.append(np.uint8(np.clip(np.rint(versions[index % 5]), 0, 255)))
    return np.stack(truths), np.stack(others)
