"""Merges a photo's lightness with small ab planes into a full-size photo, strip by strip.

One compiled program does it all for a strip: enlarges ab, takes the luminance, goes to sRGB inside its gamut
and rounds to the photo's own 8 or 16 bits. Only the photo itself is ever held as a whole. Widths, strips and planes
are filled up to few sizes, so that photos of any size share few programs.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, UInt8, UInt16

from semcolor_jax.backend import barrier
from semcolor_jax.color import lab as cielab
from semcolor_jax.color.gamut import Ray, srgb8, srgb16
from semcolor_jax.inference.flat import Coloured

Pixels = UInt8[np.ndarray, "height width 3"] | UInt16[np.ndarray, "height width 3"]
"""sRGB of 8 or 16 bits."""

STRIP_PIXELS = 2**16
_THREADS = 2  # one copies pixels while the other computes

_LUMINANCE = (cielab.XYZ_FROM_LINEAR[1][:, None] * cielab.LINEAR_FROM_UINT8).astype(np.float32)


def merge(
    photo: Pixels,
    ab: Float[np.ndarray, "h w 2"],
    *,
    coloured: Coloured | None = None,
    strip_pixels: int = STRIP_PIXELS,
    in_place: bool = False,
) -> Pixels:
    """Returns the photo's lightness with the colours `ab`, enlarged bilinearly to the photo's size.

    Works on strips of whole rows with about `strip_pixels` pixels, so that the float arrays stay small
    whatever the size of the photo. The result does not depend on the strips.

    Args:
      photo: whose lightness is kept; its own colours do not matter. The result has its depth.
      ab: in CIE units.
      coloured: the rows and columns that get colour; the others come out grey. By default all.
      strip_pixels: how many pixels to work on at once.
      in_place: overwrite `photo` with the result, which saves its memory; it must be writable.
    """
    height, width = photo.shape[:2]
    result = photo if in_place else np.empty_like(photo)
    columns = _rounded_up(width)
    planes = jnp.asarray(_wide_planes(ab, width=width, columns=columns))
    above, weight = _positions(len(ab), size=height)
    in_rows, in_columns = (Coloured.all_of(photo) if coloured is None else coloured).masks(columns)
    rows = min(max(1, strip_pixels // columns), _power_of_two(height))

    def work(top: int) -> None:
        part = slice(top, min(top + rows, height))
        count = part.stop - part.start
        strip, place, share, inside = (
            np.zeros((rows, columns, 3), photo.dtype),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.float32),
            np.zeros(rows, np.float32),
        )
        strip[:count, :width], place[:count], share[:count] = photo[part], above[part], weight[part]
        inside[:count] = in_rows[part]
        for channel, plane in enumerate(_strip(strip, planes, place, share, inside, in_columns)):
            result[part, :, channel] = np.asarray(plane)[:count, :width]

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(work, range(0, height, rows)):
            pass
    return result


@jax.jit
def _strip(
    photo: UInt8[Array, "r w 3"] | UInt16[Array, "r w 3"],
    planes: Float32[Array, "2 h w"],
    above: Int32[Array, " r"],
    weight: Float32[Array, " r"],
    in_rows: Float32[Array, " r"],
    in_columns: Float32[Array, " w"],
) -> tuple[Array, Array, Array]:
    """Colours a strip whose row i lies between the rows above[i] and above[i] + 1 of the planes."""
    deep = photo.dtype == jnp.uint16
    luminance = _deep_luminance() if deep else _LUMINANCE
    red, green, blue = (_lookup(luminance[channel], photo[..., channel].astype(jnp.int32)) for channel in range(3))
    y = red + green + blue
    below, share = jnp.minimum(above + 1, planes.shape[1] - 1), weight[:, None]
    a, b = ((1 - share) * _lookup(plane, above) + share * _lookup(plane, below) for plane in planes)
    a, b = (plane * in_rows[:, None] * in_columns for plane in (a, b))
    # The barriers keep the table look-ups out of the arithmetic, which is then computed on vectors.
    y, a, b = barrier((y, a, b))
    ray = Ray(y=y, f_y=cielab.cie_f(y), da=a / 500, db=b / 200)
    return (srgb16 if deep else srgb8)(barrier(ray))


@functools.cache
def _deep_luminance() -> Float32[np.ndarray, "3 65536"]:
    return (cielab.XYZ_FROM_LINEAR[1][:, None] * cielab.linear_from_uint16()).astype(np.float32)


def _lookup(
    table: Float32[Array, "n ..."] | Float32[np.ndarray, "n ..."], index: Int32[Array, "*i"]
) -> Float32[Array, "*i ..."]:
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds")


def _wide_planes(ab: Float[np.ndarray, "h w 2"], *, width: int, columns: int) -> Float32[np.ndarray, "2 H columns"]:
    """Returns a and b enlarged to the width, filled up to `columns`, and to a power of two of rows, by their edges."""
    left, weight = _positions(ab.shape[1], size=width)
    right = np.minimum(left + 1, ab.shape[1] - 1)
    small = np.moveaxis(ab, -1, 0).astype(np.float32)
    wide = (1 - weight) * small[..., left] + weight * small[..., right]
    extra = (0, 0), (0, _power_of_two(len(ab)) - len(ab)), (0, columns - width)
    return np.pad(wide, extra, mode="edge")


def _positions(small: int, *, size: int) -> tuple[Int32[np.ndarray, " size"], Float32[np.ndarray, " size"]]:
    """Returns, for each of `size` pixels, the one of `small` pixels before its centre and the weight of the next."""
    position = np.clip((np.arange(size) + 0.5) * small / size - 0.5, 0, small - 1)
    before = np.floor(position).astype(np.int32)
    return before, (position - before).astype(np.float32)


def _rounded_up(width: int) -> int:
    """Returns the next of eight widths per octave, at least 64: at most an eighth more."""
    step = max(64, _power_of_two(width) // 16)
    return -(-width // step) * step


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
