"""A photo and a network for the tests of colouring."""

import jax.numpy as jnp
import numpy as np
from PIL import Image

from semcolor_jax.models import Predictions


def photo_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


class Stripes:
    """A network that colours the left half warm and the right half cold, and remembers the sizes it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, lightness):
        self.shapes.append(lightness.shape)
        shape = lightness.shape[:3]
        ab = np.zeros((*shape, 2), np.float32)
        ab[..., 1] = np.where(np.arange(shape[2]) < shape[2] / 2, 25, -25)
        seg = np.zeros((*shape, 183), np.float32)
        seg[..., 7] = 1
        return Predictions(ab=jnp.asarray(ab), seg_logits=jnp.asarray(seg), scene_logits=jnp.arange(365.0)[None])
