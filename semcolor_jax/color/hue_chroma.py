"""Converts colours to hue and chroma of the HSV hexcone, their histograms, and back (Larsson et al. 2016).

Hue is in 0..1, chroma is max(R, G, B) - min(R, G, B), both of sRGB values in 0..1; each has 32 bins of equal width.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

HISTOGRAM_BINS = 32

_CENTRES = (np.arange(HISTOGRAM_BINS, dtype=np.float32) + 0.5) / HISTOGRAM_BINS
_FADE_BELOW = 0.03  # for the length of the mean hue vector, divided by 32 as in the authors' code


class HueChroma(NamedTuple):
    """Hue and chroma of a colour, or distributions over them."""

    hue: Array
    chroma: Array


def rgb_to_hue_chroma(rgb: Float[Array, "*n 3"]) -> HueChroma:
    """Returns hue and chroma (*n) of sRGB in 0..1; the hue of grey is 0."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = jnp.max(rgb, axis=-1)
    chroma = value - jnp.min(rgb, axis=-1)
    divisor = jnp.where(chroma > 0, chroma, 1.0)
    sixth = jnp.where(
        red == value,
        (green - blue) / divisor,
        jnp.where(green == value, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    return HueChroma(hue=jnp.where(chroma > 0, jnp.mod(sixth / 6, 1.0), 0.0), chroma=chroma)


def histogram_bin(value: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """Returns the bin of a hue or chroma in 0..1."""
    return jnp.clip((value * HISTOGRAM_BINS).astype(jnp.int32), 0, HISTOGRAM_BINS - 1)


def decode_histograms(histograms: HueChroma) -> HueChroma:
    """Returns one hue and chroma (*n) for distributions (*n, 32), by the authors' default rule.

    The hue is the circular mean; the chroma is the median's bin, faded out where the hue is uncertain.
    """
    angles = 2 * np.pi * _CENTRES
    x = jnp.sum(histograms.hue * np.cos(angles), axis=-1)
    y = jnp.sum(histograms.hue * np.sin(angles), axis=-1)
    undecided = jnp.hypot(x, y) / HISTOGRAM_BINS
    below = jnp.sum(jnp.cumsum(histograms.chroma, axis=-1) < 0.5, axis=-1)
    median = (jnp.minimum(below, HISTOGRAM_BINS - 1) + 0.5) / HISTOGRAM_BINS
    fade = jnp.minimum(undecided, _FADE_BELOW) / _FADE_BELOW
    return HueChroma(hue=jnp.mod(jnp.arctan2(y, x) / (2 * np.pi), 1.0), chroma=median * fade)


def hue_chroma_to_rgb(color: HueChroma, *, grey: Float[Array, "*n"]) -> Float[Array, "*n 3"]:
    """Returns sRGB (0..1) of this hue and chroma, with `grey` as the mean over channels unless it must be clipped.

    As in the authors' code: the HSV value is grey + chroma / 2 and the saturation chroma / value, both clipped; then
    all channels are shifted equally until their mean is right, and clipped again.
    """
    value = grey + color.chroma / 2
    saturation = jnp.clip(color.chroma / jnp.where(value > 0, value, 1.0), 0.0, 1.0)
    value = jnp.clip(value, 0.0, 1.0)
    sector = jnp.mod(jnp.asarray([5.0, 3.0, 1.0]) + 6 * color.hue[..., None], 6)
    fall = jnp.clip(jnp.minimum(sector, 4 - sector), 0.0, 1.0)
    rgb = value[..., None] * (1 - saturation[..., None] * fall)
    shift = grey - jnp.mean(rgb, axis=-1)
    return jnp.clip(rgb + shift[..., None], 0.0, 1.0)
