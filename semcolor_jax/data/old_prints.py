"""Simulates old prints and scans: damages the network's input, never its target.

All randomness comes from the place's key. The order is that of a print's life: its tone (gamma) and fading, the lens's
blur, the grain, and the JPEG blocks of the scan.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

QUALITIES = (10.0, 50.0)
"""Quality of the JPEG-like blocks, on libjpeg's scale, drawn uniformly."""

# ITU-T T.81, table K.1: how coarsely JPEG keeps each frequency of the lightness at quality 50.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)


@dataclasses.dataclass(frozen=True)
class OldPrint:
    """How strong each damage is; 0 turns it off. `config.augment` has the same fields.

    Attributes:
      gamma: the exponent is 2**g with g in +- this.
      fading: largest share of the contrast that is lost; the black point then lies anywhere that leaves room.
      blur: largest standard deviation of the Gaussian, in pixels.
      noise: largest standard deviation of the grain, as a share of the lightness range.
      blocks: chance of JPEG-like blocks.
    """

    gamma: float = 0.0
    fading: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    blocks: float = 0.0

    @classmethod
    def of(cls, config: ConfigDict) -> OldPrint:
        """Returns the damage that `config.augment` asks for."""
        return cls(**{field.name: config.augment[field.name] for field in dataclasses.fields(cls)})


def age(lightness: Float[Array, "h w"], key: Key[Array, ""], damage: OldPrint) -> Float[Array, "h w"]:
    """Returns the print's lightness, 0..100, after all damage."""
    tone_key, fade_key, blur_key, noise_key, grain_key, blocks_key = jax.random.split(key, 6)
    if damage.gamma:
        lightness = gamma(lightness, exponent=2 ** (damage.gamma * jax.random.uniform(tone_key, minval=-1)))
    if damage.fading:
        lost, black = jax.random.uniform(fade_key, (2,))
        lightness = fade(lightness, lost=lost * damage.fading, black=black)
    if damage.blur:
        lightness = blur(lightness, sigma=damage.blur * jax.random.uniform(blur_key), largest=damage.blur)
    if damage.noise:
        grain = jax.random.normal(grain_key, lightness.shape)
        lightness = jnp.clip(lightness + 100 * damage.noise * jax.random.uniform(noise_key) * grain, 0, 100)
    if damage.blocks:
        happens, quality = jax.random.uniform(blocks_key, (2,))
        low, high = QUALITIES
        blocky = jpeg_blocks(lightness, quality=low + quality * (high - low))
        lightness = jnp.where(happens < damage.blocks, blocky, lightness)
    return lightness


def gamma(lightness: Float[Array, "h w"], *, exponent: Float[Array, ""]) -> Float[Array, "h w"]:
    """Returns 100 (L / 100)^exponent."""
    return 100 * (jnp.clip(lightness, 0, 100) / 100) ** exponent


def fade(lightness: Float[Array, "h w"], *, lost: Float[Array, ""], black: Float[Array, ""]) -> Float[Array, "h w"]:
    """Squeezes 0..100 into a range smaller by `lost`; `black`, 0..1, is the share of the loss at the dark end."""
    return lightness * (1 - lost) + 100 * lost * black


def blur(lightness: Float[Array, "h w"], *, sigma: Float[Array, ""], largest: float) -> Float[Array, "h w"]:
    """Returns the Gaussian blur; `largest`, the largest possible sigma, fixes the window. Edges repeat."""
    reach = math.ceil(3 * largest)
    offsets = jnp.arange(-reach, reach + 1)
    weights = jnp.exp(-jnp.square(offsets / jnp.maximum(sigma, 1e-3)) / 2)
    weights /= jnp.sum(weights)
    padded = jnp.pad(lightness, reach, mode="edge")
    rows = jax.vmap(lambda row: jnp.convolve(row, weights, mode="valid"))(padded)
    return jax.vmap(lambda column: jnp.convolve(column, weights, mode="valid"), in_axes=1, out_axes=1)(rows)


def jpeg_blocks(lightness: Float[Array, "h w"], *, quality: Float[Array, ""]) -> Float[Array, "h w"]:
    """Rounds the frequencies of 8 x 8 blocks as JPEG does at a quality of 1..50; the grid starts at the corner."""
    height, width = lightness.shape
    padded = jnp.pad(2.55 * lightness - 128, [(0, -height % 8), (0, -width % 8)], mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8)
    steps = jnp.clip(jnp.floor((_LUMINANCE * 5000 / quality + 50) / 100), 1, 255)
    cosines = _cosines()
    frequencies = jnp.einsum("ui,rics,vs->rucv", cosines, blocks, cosines)
    rounded = jnp.round(frequencies / steps[:, None, :]) * steps[:, None, :]
    decoded = jnp.einsum("ui,rucv,vs->rics", cosines, rounded, cosines)
    return jnp.clip((decoded.reshape(padded.shape)[:height, :width] + 128) / 2.55, 0, 100)


def _cosines() -> Float[np.ndarray, "8 8"]:
    """Returns the orthonormal DCT-II: frequency by place."""
    frequency, place = np.mgrid[:8, :8]
    matrix = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.astype(np.float32)
