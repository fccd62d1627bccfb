"""Bringing Lab colours into sRGB without touching their lightness."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from semcolor_jax.color.lab import lab_to_linear_rgb

TOLERANCE = 1e-4
"""How far linear RGB may leave 0..1 and still count as inside: float32 rounding, and the six-digit primaries,
for which a = b = 0 is not exactly grey. It is a third of an 8-bit step even next to black."""

_BISECTIONS = 14  # resolves the chroma to 1/16384 of its value


def in_gamut(lab: Float[Array | np.ndarray, "*n 3"]) -> Bool[Array, "*n"]:
    """Tells which Lab colours sRGB can show, within `TOLERANCE`.

    Raises:
      ValueError: if the last axis is not 3, or the type is not floating.
    """
    linear = lab_to_linear_rgb(lab)
    return jnp.all((linear >= -TOLERANCE) & (linear <= 1 + TOLERANCE), axis=-1)


def fit_to_gamut(lab: Float[Array | np.ndarray, "*n 3"]) -> Float[Array, "*n 3"]:
    """Scales the chroma of colours outside sRGB down until they fit; lightness and hue stay.

    Clipping RGB instead would change the lightness, which in colorization is the photo's own. Colours inside
    come back unchanged. L must lie in 0..100: beyond, not even grey fits, and grey is what comes back.

    Raises:
      ValueError: if the last axis is not 3, or the type is not floating.
    """

    def scaled(factor: Float[Array, "*n"]) -> Float[Array, "*n 3"]:
        return jnp.concatenate([lab[..., :1], lab[..., 1:] * factor[..., None]], axis=-1)

    def halve(_: int | Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        inside, outside = bounds
        middle = (inside + outside) / 2
        fits = in_gamut(scaled(middle))
        return jnp.where(fits, middle, inside), jnp.where(fits, outside, middle)

    grey, full = jnp.zeros_like(lab[..., 0]), jnp.ones_like(lab[..., 0])
    inside, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (grey, full))
    return jnp.where(in_gamut(lab)[..., None], lab, scaled(inside))
