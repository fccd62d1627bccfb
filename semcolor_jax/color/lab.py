"""Converts sRGB (D65) to CIE Lab and back, one implementation for JAX and for numpy on the host.

The constants are those of scikit-image: the sRGB primaries of IEC 61966-2-1 rounded to six digits and the D65
white of the 2 degree observer. Every power is guarded by a double `where`: the branch not taken gets a harmless
argument, because its infinite derivative times zero would otherwise make the gradient NaN.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Num, UInt8

XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])

XYZ_FROM_LINEAR = XYZ_FROM_RGB / WHITE[:, None]
"""Linear RGB to XYZ relative to the white."""

LINEAR_FROM_XYZ = np.linalg.inv(XYZ_FROM_LINEAR)

# (f(X), f(Y), f(Z)) <-> (L + 16, a, b).
_LAB_FROM_F = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_F_FROM_LAB = np.linalg.inv(_LAB_FROM_F)
_L_OFFSET = np.array([16.0, 0.0, 0.0])

_BEND = 0.2068966  # where CIE's f changes from a straight line to the cube root


def rgb_to_lab(rgb: Num[Any, "*n 3"], *, xp: Any = jnp) -> Float[Any, "*n 3"]:
    """Converts sRGB to CIE Lab.

    Args:
      rgb: uint8, or float in 0..1. Floats outside 0..1 continue the curves and are not clipped.
      xp: the array module to use, `jax.numpy` or `numpy`.

    Returns:
      L in 0..100, a and b in CIE units; float32 (float64 if the input is).

    Raises:
      ValueError: if the last axis is not 3, or the type is neither uint8 nor floating.
    """
    rgb = xp.asarray(rgb)
    if rgb.dtype == np.uint8:
        linear = xp.take(xp.asarray(LINEAR_FROM_UINT8), _checked(rgb), axis=0, mode="clip")
    else:
        linear = _linear_from_srgb(_as_float(rgb, xp=xp), xp=xp)
    f = cie_f(_transform(XYZ_FROM_LINEAR, linear), xp=xp)
    return _transform(_LAB_FROM_F, f) - _L_OFFSET.astype(f.dtype)


def rgb_planes_to_ab(
    red: UInt8[Array, "*n"], green: UInt8[Array, "*n"], blue: UInt8[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Returns a and b as `rgb_to_lab`, but from planes: several times faster on a CPU than three channels a pixel."""
    table = jnp.asarray(LINEAR_FROM_UINT8)
    linear = [jnp.take(table, plane, axis=0, mode="clip") for plane in (red, green, blue)]
    weights = XYZ_FROM_LINEAR.astype(np.float32)
    x, y, z = (cie_f(sum(w * plane for w, plane in zip(row, linear, strict=True))) for row in weights)
    return 500 * (x - y), 200 * (y - z)


def lab_to_rgb(lab: Float[Any, "*n 3"], *, xp: Any = jnp) -> Float[Any, "*n 3"]:
    """Converts CIE Lab to sRGB, clipped to 0..1.

    Clipping changes the lightness of colours outside sRGB: see `gamut.fit_to_gamut`.

    Raises:
      ValueError: if the last axis is not 3, or the type is not floating.
    """
    linear = xp.clip(lab_to_linear_rgb(lab, xp=xp), 0.0, 1.0)
    return xp.clip(srgb_from_linear(linear, xp=xp), 0.0, 1.0)


def lab_to_linear_rgb(lab: Float[Any, "*n 3"], *, xp: Any = jnp) -> Float[Any, "*n 3"]:
    """Converts CIE Lab to linear-light sRGB, which leaves 0..1 where the colour leaves the sRGB gamut.

    Raises:
      ValueError: if the last axis is not 3, or the type is not floating.
    """
    lab = _as_float(lab, xp=xp)
    f = _transform(_F_FROM_LAB, lab + _L_OFFSET.astype(lab.dtype))
    return _transform(LINEAR_FROM_XYZ, inverse_f(f, xp=xp))


def _as_float(color, *, xp):
    color = _checked(xp.asarray(color))
    if not jnp.issubdtype(color.dtype, jnp.floating):
        raise ValueError(f"colours must be floating, or uint8 where they are RGB, but are {color.dtype}")
    return color.astype(jnp.promote_types(color.dtype, np.float32))


def _checked(color):
    if color.ndim < 1 or color.shape[-1] != 3:
        raise ValueError(f"colours need a last axis of 3, but have the shape {color.shape}")
    return color


def _transform(matrix: np.ndarray, color):
    """Multiplies every colour by the matrix: in full precision on every device, unlike a matmul."""
    columns = matrix.T.astype(color.dtype)
    return color[..., :1] * columns[0] + color[..., 1:2] * columns[1] + color[..., 2:] * columns[2]


def _linear_from_srgb(value, *, xp):
    bent = value > 0.04045
    power = _power((xp.where(bent, value, 1.0) + 0.055) / 1.055, 2.4, xp=xp)
    return xp.where(bent, power, value / 12.92)


def srgb_from_linear(value, *, xp=jnp):
    """Applies the sRGB transfer curve to linear light of 0..1."""
    bent = value > 0.0031308
    root = _power(xp.where(bent, value, 1.0), 1 / 2.4, xp=xp)
    return xp.where(bent, 1.055 * root - 0.055, value * 12.92)


def cie_f(t, *, xp=jnp):
    """CIE's f: the cube root, with a straight line near and below 0."""
    bent = t > 0.008856
    return xp.where(bent, _power(xp.where(bent, t, 1.0), 1 / 3, xp=xp), 7.787 * t + 16 / 116)


def inverse_f(f, *, xp=jnp):
    """Inverts CIE's f."""
    return xp.where(f > _BEND, f * f * f, (f - 16 / 116) / 7.787)


def inverse_f_slope(f, *, xp=jnp):
    """Returns the derivative of `inverse_f`."""
    return xp.where(f > _BEND, 3 * f * f, 1 / 7.787)


def _power(base, exponent: float, *, xp):
    # XLA's CPU vectorises exp and log, but not pow (3 times slower here) and cbrt (10 times).
    return xp.exp(exponent * xp.log(base))


def linear_from_uint16() -> Float32[np.ndarray, " 65536"]:
    """Returns the linear light of each 16-bit sRGB value."""
    return _linear_from_srgb(np.arange(2**16) / 0xFFFF, xp=np).astype(np.float32)


LINEAR_FROM_UINT8 = _linear_from_srgb(np.arange(256) / 255, xp=np).astype(np.float32)
"""The linear light of each 8-bit sRGB value."""
