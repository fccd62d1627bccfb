"""Fits Lab colours into the sRGB gamut without changing their lightness."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8, UInt16

from semcolor_jax.color import lab as cielab
from semcolor_jax.color.lab import lab_to_linear_rgb

TOLERANCE = 1e-4
"""How far linear RGB may leave 0..1 and still count as inside: float32 rounding, and the six-digit primaries,
for which a = b = 0 is not exactly grey. It is a third of an 8-bit step even next to black."""

_AIM = TOLERANCE / 2  # where the search for the border stops, so that rounding cannot put the result outside
_STEPS = 6  # of Newton's method: within 0.05 of an 8-bit step of the exact border for colours of up to 40 units


class Ray(NamedTuple):
    """Colours of one lightness and hue: f_x = f_y + t * da and f_z = f_y - t * db, where t scales the chroma.

    Planes instead of a last axis of 3, so that XLA's CPU code can be vectorised over pixels.

    Attributes:
      y: luminance, 0..1.
      f_y: CIE's f of it, (L + 16) / 116.
      da: a / 500.
      db: b / 200.
    """

    y: Float[Array, "..."]
    f_y: Float[Array, "..."]
    da: Float[Array, "..."]
    db: Float[Array, "..."]


def in_gamut(lab: Float[Array | np.ndarray, "*n 3"]) -> Bool[Array, "*n"]:
    """Returns which Lab colours sRGB can show, within `TOLERANCE`.

    Raises:
      ValueError: if the last axis is not 3, or the type is not floating.
    """
    linear = lab_to_linear_rgb(lab)
    return jnp.all((linear >= -TOLERANCE) & (linear <= 1 + TOLERANCE), axis=-1)


def fit_to_gamut(lab: Float[Array | np.ndarray, "*n 3"]) -> Float[Array, "*n 3"]:
    """Scales the chroma of colours outside sRGB down until they fit; lightness and hue stay.

    Clipping RGB instead would change the lightness, which in colorization is the photo's own. Colours inside come back
    unchanged. L must lie in 0..100: beyond, not even grey fits, and grey is returned.

    Raises:
      ValueError: if the last axis is not 3, or the type is not floating.
    """
    inside = in_gamut(lab)
    lab = jnp.asarray(lab)
    factor = chroma_factor(ray_of_lab(lab[..., 0], lab[..., 1], lab[..., 2]))
    scaled = jnp.concatenate([lab[..., :1], lab[..., 1:] * factor[..., None]], axis=-1)
    return jnp.where(inside[..., None], lab, scaled)


def ray_of_lab(lightness: Float[Array, "..."], a: Float[Array, "..."], b: Float[Array, "..."]) -> Ray:
    """Returns the ray on which the Lab colour is at t = 1."""
    f_y = (lightness + 16) / 116
    return Ray(y=cielab.inverse_f(f_y), f_y=f_y, da=a / 500, db=b / 200)


def chroma_factor(ray: Ray) -> Float[Array, "..."]:
    """Returns the factor 0..1 to which the chroma must shrink to fit into sRGB.

    Along a ray each channel of linear RGB is a sum of two cubic polynomials in t, or straight lines below
    CIE's bend. Newton's method starts at t = 1 with the channel farthest outside, and usually approaches the border
    from outside. A step that would leave the bracket between the largest t known to be inside and the least known to be
    outside is replaced by the bracket's middle.
    """
    inside, outside = jnp.zeros_like(ray.f_y), jnp.ones_like(ray.f_y)
    t = outside
    for _ in range(_STEPS):
        excess, slope = _excess_and_slope(ray, t)
        fits = excess <= _AIM
        inside, outside = jnp.where(fits, t, inside), jnp.where(fits, outside, t)
        newton = t - (excess - _AIM) / slope
        # NaN and infinity, of a slope of 0, compare as false.
        t = jnp.where((newton >= inside) & (newton <= outside), newton, (inside + outside) / 2)
    t = jnp.where(_excess(ray, t) <= (_AIM + TOLERANCE) / 2, t, inside)
    return jnp.where(_fits(ray), 1.0, t)


def srgb8(ray: Ray) -> tuple[UInt8[Array, "..."], UInt8[Array, "..."], UInt8[Array, "..."]]:
    """Returns the 8-bit sRGB planes of colours at t = 1, or at the border of the gamut where that is nearer."""
    red, green, blue = (_encoded(plane, 0xFF).astype(jnp.uint8) for plane in _linear_in_gamut(ray))
    return red, green, blue


def srgb16(ray: Ray) -> tuple[UInt16[Array, "..."], UInt16[Array, "..."], UInt16[Array, "..."]]:
    """Returns the 16-bit sRGB planes, as `srgb8`.

    Clipping what `TOLERANCE` leaves outside the gamut would cost dark colours a few 16-bit steps of lightness, so it is
    mixed with the grey of the same luminance instead.
    """
    planes = _linear_in_gamut(ray)
    lowest = jnp.minimum(jnp.minimum(planes[0], planes[1]), planes[2])
    highest = jnp.maximum(jnp.maximum(planes[0], planes[1]), planes[2])
    share = jnp.where(lowest < 0, ray.y / jnp.maximum(ray.y - lowest, 1e-12), 1.0)
    share = jnp.minimum(share, jnp.where(highest > 1, (1 - ray.y) / jnp.maximum(highest - ray.y, 1e-12), 1.0))
    red, green, blue = (_encoded(ray.y + share * (plane - ray.y), 0xFFFF).astype(jnp.uint16) for plane in planes)
    return red, green, blue


def _linear_in_gamut(ray: Ray) -> list[Float[Array, "..."]]:
    # The search is most of the work, and whole strips of most photos do not need it.
    factor = jax.lax.cond(jnp.all(_fits(ray)), lambda ray: jnp.ones_like(ray.f_y), chroma_factor, ray)
    return _linear_rgb(ray, factor)


def _encoded(linear: Float[Array, "..."], levels: int) -> Float[Array, "..."]:
    return jnp.rint(cielab.srgb_from_linear(jnp.clip(linear, 0.0, 1.0), xp=jnp) * levels)


def _fits(ray: Ray) -> Bool[Array, "..."]:
    return _excess(ray, jnp.ones_like(ray.f_y)) <= TOLERANCE


def _linear_rgb(ray: Ray, t: Float[Array, "..."]) -> list[Float[Array, "..."]]:
    x = cielab.inverse_f(ray.f_y + t * ray.da)
    z = cielab.inverse_f(ray.f_y - t * ray.db)
    return [row[0] * x + row[1] * ray.y + row[2] * z for row in _MATRIX]


def _excess(ray: Ray, t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns how far the farthest channel lies outside 0..1; negative inside."""
    red, green, blue = _linear_rgb(ray, t)
    highest = jnp.maximum(jnp.maximum(red, green), blue)
    lowest = jnp.minimum(jnp.minimum(red, green), blue)
    return jnp.maximum(highest - 1, -lowest)


def _excess_and_slope(ray: Ray, t: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Returns `_excess` and its derivative with respect to t."""
    f_x, f_z = ray.f_y + t * ray.da, ray.f_y - t * ray.db
    x, z = cielab.inverse_f(f_x), cielab.inverse_f(f_z)
    x_slope, z_slope = ray.da * cielab.inverse_f_slope(f_x), -ray.db * cielab.inverse_f_slope(f_z)
    worst, slope = jnp.full_like(t, -jnp.inf), jnp.zeros_like(t)
    for row in _MATRIX:
        channel = row[0] * x + row[1] * ray.y + row[2] * z
        change = row[0] * x_slope + row[2] * z_slope
        high = channel > 0.5
        excess, change = jnp.where(high, channel - 1, -channel), jnp.where(high, change, -change)
        farther = excess > worst
        worst, slope = jnp.where(farther, excess, worst), jnp.where(farther, change, slope)
    return worst, slope


_MATRIX = [[float(np.float32(value)) for value in row] for row in cielab.LINEAR_FROM_XYZ]
