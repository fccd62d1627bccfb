"""Merges a photo's lightness with small ab planes into a full-size photo, strip by strip.

One compiled program does everything for a strip: upsamples ab, takes the luminance, converts to sRGB inside its gamut
and rounds to the photo's own 8 or 16 bits. Only the photo itself is ever in memory as a whole. Widths, strips and
planes are padded to few sizes, so that photos of any size share few programs.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32, Int64, UInt8, UInt16

from semcolor_jax.backend import barrier
from semcolor_jax.color import lab as cielab
from semcolor_jax.color.gamut import Ray, srgb8, srgb16
from semcolor_jax.inference.flat import Coloured

Pixels = UInt8[np.ndarray, "height width 3"] | UInt16[np.ndarray, "height width 3"]
"""sRGB of 8 or 16 bits."""

STRIP_PIXELS = 2**16
_THREADS = 2  # one copies pixels while another computes
_TOLERANCE = 3.0  # L by which a pixel may differ from a cell of a `Shift` before that cell counts clearly less

_LUMINANCE = (cielab.XYZ_FROM_LINEAR[1][:, None] * cielab.LINEAR_FROM_UINT8).astype(np.float32)


class Shift(NamedTuple):
    """A correction to a photo's colours that follows its edges: small planes, and the lightness that goes with them.

    A pixel takes the mean of the nine nearest cells, those of its own lightness counting most (joint bilateral
    upsampling, Kopf et al. 2007, with a quadratic B-spline in space), so that a shift ends at the same edges in the
    photo as in the cells.

    Attributes:
      ab: CIE units.
      lightness: of the photo in the same cells, 0..100.
    """

    ab: Float32[np.ndarray, "h w 2"]
    lightness: Float32[np.ndarray, "h w"]


def merge(
    photo: Pixels,
    ab: Float[np.ndarray, "h w 2"],
    *,
    shift: Shift | None = None,
    coloured: Coloured | None = None,
    strip_pixels: int = STRIP_PIXELS,
    in_place: bool = False,
) -> Pixels:
    """Returns the photo's lightness with the colours `ab`, enlarged bilinearly to the photo's size.

    Works on strips of whole rows with about `strip_pixels` pixels, so that the float arrays stay small for photos of
    any size. The result does not depend on the strips.

    Args:
      photo: its lightness is kept, its colours are ignored. The result has its bit depth.
      ab: in CIE units.
      shift: added to them, in the other functions below, too.
      coloured: the rows and columns that get the colours `ab`, by default all; the others become grey.
      strip_pixels: how many pixels to work on at once.
      in_place: overwrite `photo`, which must be writable, with the result, to save memory.
    """
    height, width = photo.shape[:2]
    result = photo if in_place else np.empty_like(photo)
    columns = _rounded_up(width)
    planes = jnp.asarray(_wide_planes(ab, width=width, columns=columns))
    above, weight = _positions(len(ab), size=height)
    in_rows, in_columns = (Coloured.all_of(photo) if coloured is None else coloured).masks(columns)
    rows = min(max(1, strip_pixels // columns), _power_of_two(height))
    cells = None if shift is None else _Cells.of(shift, height=height, width=width, columns=columns)

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
        near = None if cells is None else cells.of_rows(part, rows)
        for channel, plane in enumerate(_strip(strip, planes, place, share, inside, in_columns, near)):
            result[part, :, channel] = np.asarray(plane)[:count, :width]

    with ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(work, range(0, height, rows)):
            pass
    return result


class _Near(NamedTuple):
    """The three by three cells around each pixel of a strip."""

    planes: Float32[Array, "3 3 h w"]  # lightness, a, b of the cell before, at and after each column
    rows: Int32[Array | np.ndarray, "3 r"]  # the cells' rows before, at and after each row
    row_weights: Float32[Array | np.ndarray, "3 r"]
    column_weights: Float32[Array, "3 w"]


class _Cells(NamedTuple):
    """A `Shift` enlarged to a photo's width."""

    near: _Near  # of all rows
    touched: Bool[np.ndarray, " height"]  # rows that it changes

    @classmethod
    def of(cls, shift: Shift, *, height: int, width: int, columns: int) -> _Cells:
        rows, row_weights = _nearest(len(shift.ab), size=height)
        places, column_weights = _nearest(shift.ab.shape[1], size=width)
        small = np.concatenate([shift.lightness[None], np.moveaxis(shift.ab, -1, 0)]).astype(np.float32)
        wide = np.moveaxis(small[:, :, places], 2, 0)
        extra = (0, 0), (0, 0), (0, _power_of_two(len(shift.ab)) - len(shift.ab)), (0, columns - width)
        near = _Near(
            planes=jnp.asarray(np.pad(wide, extra, mode="edge")),
            rows=rows,
            row_weights=row_weights,
            column_weights=jnp.asarray(np.pad(column_weights, ((0, 0), (0, columns - width)), mode="edge")),
        )
        return cls(near, shift.ab.any(axis=(1, 2))[rows].any(axis=0))

    def of_rows(self, part: slice, count: int) -> _Near | None:
        """Returns the part for these rows, padded to `count`; None where the shift changes none of them."""
        if not self.touched[part].any():
            return None
        extra = (0, 0), (0, count - (part.stop - part.start))
        rows, weights = (np.pad(x[:, part], extra, mode="edge") for x in (self.near.rows, self.near.row_weights))
        return self.near._replace(rows=rows, row_weights=weights)


def _upsampled(near: _Near, lightness: Float32[Array, "r w"]) -> tuple[Array, Array]:
    """Returns the a and b of a shift at the pixels of a strip."""
    total, a, b = (jnp.zeros_like(lightness) for _ in range(3))
    for row, row_weight in zip(near.rows, near.row_weights, strict=True):
        for planes, column_weight in zip(near.planes, near.column_weights, strict=True):
            level, more_a, more_b = barrier(tuple(_lookup(plane, row) for plane in planes))
            other = 1 + ((lightness - level) / _TOLERANCE) ** 2
            # Not a Gaussian: a line thinner than a cell has no cell of its lightness.
            weight = row_weight[:, None] * column_weight / other**2
            total, a, b = total + weight, a + weight * more_a, b + weight * more_b
    return a / total, b / total


@jax.jit
def _strip(
    photo: UInt8[Array, "r w 3"] | UInt16[Array, "r w 3"],
    planes: Float32[Array, "2 h w"],
    above: Int32[Array, " r"],
    weight: Float32[Array, " r"],
    in_rows: Float32[Array, " r"],
    in_columns: Float32[Array, " w"],
    near: _Near | None = None,
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
    f_y = cielab.cie_f(y)
    if near is not None:
        a, b = (plane + more for plane, more in zip((a, b), _upsampled(near, 116 * f_y - 16), strict=True))
    ray = Ray(y=y, f_y=f_y, da=a / 500, db=b / 200)
    return (srgb16 if deep else srgb8)(barrier(ray))


@functools.cache
def _deep_luminance() -> Float32[np.ndarray, "3 65536"]:
    return (cielab.XYZ_FROM_LINEAR[1][:, None] * cielab.linear_from_uint16()).astype(np.float32)


def _lookup(
    table: Float32[Array, "n ..."] | Float32[np.ndarray, "n ..."], index: Int32[Array, "*i"]
) -> Float32[Array, "*i ..."]:
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds")


def _wide_planes(ab: Float[np.ndarray, "h w 2"], *, width: int, columns: int) -> Float32[np.ndarray, "2 H columns"]:
    """Returns a and b enlarged to the width, edge-padded to `columns` and to a power of two of rows."""
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


def _nearest(small: int, *, size: int) -> tuple[Int32[np.ndarray, "3 size"], Float32[np.ndarray, "3 size"]]:
    """Returns, for each of `size` pixels, the three nearest of `small` cells and their quadratic B-spline weights."""
    position = (np.arange(size) + 0.5) * small / size - 0.5
    middle = np.rint(position)
    u = position - middle
    weights = np.stack([(0.5 - u) ** 2 / 2, 0.75 - u**2, (0.5 + u) ** 2 / 2])
    cells = np.clip(middle + np.array([[-1], [0], [1]]), 0, small - 1)
    return cells.astype(np.int32), weights.astype(np.float32)


def values_at(
    ab: Float[np.ndarray, "h w 2"],
    rows: Int64[np.ndarray, " n"],
    columns: Int64[np.ndarray, " n"],
    *,
    size: tuple[int, int],
) -> Float32[np.ndarray, "n 2"]:
    """Returns the colours that `merge` gives the pixels of a photo of this height and width."""
    above, down = (x[rows] for x in _positions(ab.shape[0], size=size[0]))
    left, right = (x[columns] for x in _positions(ab.shape[1], size=size[1]))
    below, after = np.minimum(above + 1, ab.shape[0] - 1), np.minimum(left + 1, ab.shape[1] - 1)
    down, right = down[:, None], right[:, None]
    top = (1 - right) * ab[above, left] + right * ab[above, after]
    return (1 - down) * top + down * ((1 - right) * ab[below, left] + right * ab[below, after])


def _rounded_up(width: int) -> int:
    """Returns the next of eight widths per octave, at least 64: at most an eighth more."""
    step = max(64, _power_of_two(width) // 16)
    return -(-width // step) * step


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
