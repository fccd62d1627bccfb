"""3x3 convolutions, of stride 1, with fewer multiplications: minimal filtering (Winograd 1980).

Lavin and Gray (2016), "Fast algorithms for convolutional neural networks", section 4, write the convolution of a tile x
of the image with a kernel k as

    y = A^T [(G k G^T) * (B^T x B)] A,

where * is the product of each pair of entries, summed over the input channels: one matrix product per entry, over all
tiles. `SAME` is their F(2x2, 3x3): 16 products give the four pixels that take 36 otherwise. Where the image has been
enlarged twice by nearest neighbours, most of a window's pixels are equal, and 9 suffice. Along one axis

    y[2p]     = k0 x[p - 1] + (k1 + k2) x[p] = k0 (x[p - 1] - x[p]) + (k0 + k1 + k2) x[p]
    y[2p + 1] = (k0 + k1) x[p] + k2 x[p + 1] = k2 (x[p + 1] - x[p]) + (k0 + k1 + k2) x[p],

three products for two pixels (`ENLARGED`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CHUNK_TILES = 1024
"""Tiles whose transforms are alive at once, if they do not all belong to a small image."""

Matrix = tuple[tuple[float, ...], ...]
Grid = list[list[Array]]
"""Arrays of equal shape, as the entries of a matrix."""


class Filtering(NamedTuple):
    """The matrices of one algorithm. Tiles have as many rows as B, and `step` pixels from one to the next."""

    inputs: Matrix  # B^T
    kernel: Matrix  # G
    outputs: Matrix  # A^T
    step: int


SAME = Filtering(
    inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    kernel=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
    step=2,
)
"""SAME convolution of an image with even sides."""

_ENDS_AND_SUM: Matrix = ((1, 0, 0), (1, 1, 1), (0, 0, 1))

ENLARGED = Filtering(
    inputs=((1, -1, 0), (0, 1, 0), (0, -1, 1)), kernel=_ENDS_AND_SUM, outputs=((1, 1, 0), (0, 1, 1)), step=1
)
"""SAME convolution of the image enlarged twice, from the image as it was."""

_REDUCED = Filtering(
    inputs=((0, -1, 0, 1), (0, 1, 1, 0), (1, 0, -1, 0)), kernel=_ENDS_AND_SUM, outputs=((1, 1, 1),), step=2
)
"""The transpose of `ENLARGED`: halves an image's sides. The kernel is not turned around for it."""


def apply(filtering: Filtering, x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C K"]) -> Float[Array, "B h w K"]:
    """Returns the convolution of x, padded by one pixel of zeros, in x's dtype.

    With `SAME` the sides of x are even and the result is of x's size; with `ENLARGED` it is of twice that size.
    """
    return _apply(filtering, x, entries(kernel), products="bhwc,ck->bhwk")


def input_gradient(
    filtering: Filtering, upstream: Float[Array, "B h w K"], kernel: Float[Array, "3 3 C K"]
) -> Float[Array, "B H W C"]:
    """Returns the gradient of `apply` with respect to x."""
    taps = entries(kernel)
    if filtering is ENLARGED:
        return _apply(_REDUCED, upstream, taps, products="bhwk,ck->bhwc")
    return _apply(SAME, upstream, [row[::-1] for row in taps[::-1]], products="bhwk,ck->bhwc")


def _apply(filtering: Filtering, x: Array, taps: Grid, *, products: str) -> Array:
    factors = transform(filtering.kernel, taps)

    def block(window: Array) -> Array:
        tiles = transform(filtering.inputs, _taps(window, filtering))
        results = [
            [jnp.einsum(products, *pair) for pair in zip(*rows, strict=True)]
            for rows in zip(tiles, factors, strict=True)
        ]
        return _interleave(transform(filtering.outputs, results))

    tiles_down = x.shape[1] // filtering.step
    bands = _Bands.of(x.shape[0], tiles_down, x.shape[2] // filtering.step)
    padded = _pad(x)
    if bands.number == 1:
        return block(padded)
    _, results = jax.lax.scan(
        lambda carry, index: (carry, block(_window(padded, filtering, bands, index))), None, jnp.arange(bands.number)
    )
    side = len(filtering.outputs)
    return results.reshape(x.shape[0], side * tiles_down, *results.shape[3:])


def kernel_gradient(
    filtering: Filtering, x: Float[Array, "B H W C"], upstream: Float[Array, "B h w K"]
) -> Float[Array, "3 3 C K"]:
    """Returns the gradient of `apply` with respect to the kernel, float32.

    Args:
      filtering: `SAME` or `ENLARGED`.
      x: as in `apply`.
      upstream: the gradient with respect to its result.
    """
    outputs_transposed = tuple(zip(*filtering.outputs, strict=True))
    kernel_transposed = tuple(zip(*filtering.kernel, strict=True))
    side = len(filtering.outputs)

    def block(window: Array, gradient: Array) -> Grid:
        tiles = transform(filtering.inputs, _taps(window, filtering))
        corners = [[gradient[:, i::side, j::side] for j in range(side)] for i in range(side)]
        factors = transform(outputs_transposed, corners)
        return [[_correlation(*pair) for pair in zip(*rows, strict=True)] for rows in zip(tiles, factors, strict=True)]

    bands = _Bands.of(x.shape[0], x.shape[1] // filtering.step, x.shape[2] // filtering.step)
    padded = _pad(x)
    if bands.number == 1:
        return join(transform(kernel_transposed, block(padded, upstream)))
    upstream = upstream.reshape(bands.number, 1, -1, *upstream.shape[2:])

    def add(total: Grid, inputs: tuple[Array, Array]) -> tuple[Grid, None]:
        index, gradient = inputs
        return jax.tree.map(jnp.add, total, block(_window(padded, filtering, bands, index), gradient)), None

    size = len(filtering.inputs)
    zeros = jnp.zeros((x.shape[-1], upstream.shape[-1]), jnp.float32)
    total, _ = jax.lax.scan(add, [[zeros] * size for _ in range(size)], (jnp.arange(bands.number), upstream))
    return join(transform(kernel_transposed, total))


class _Bands(NamedTuple):
    """How an image's tiles are divided: all at once, or a few rows of one image at a time."""

    number: int
    per_image: int
    rows: int  # of tiles

    @classmethod
    def of(cls, batch: int, down: int, across: int) -> _Bands:
        if batch * down * across <= CHUNK_TILES:
            return cls(number=1, per_image=1, rows=down)
        rows = max((n for n in range(1, down + 1) if down % n == 0 and n * across <= CHUNK_TILES), default=1)
        return cls(number=batch * (down // rows), per_image=down // rows, rows=rows)


def _window(padded: Array, filtering: Filtering, bands: _Bands, index: Array) -> Array:
    """Returns the padded pixels that a band's tiles cover, (1, ., ., C)."""
    rows = filtering.step * (bands.rows - 1) + len(filtering.inputs[0])
    top = index % bands.per_image * bands.rows * filtering.step
    start = (index // bands.per_image, top, jnp.zeros_like(top), jnp.zeros_like(top))
    return jax.lax.dynamic_slice(padded, start, (1, rows, *padded.shape[2:]))


def _taps(window: Float[Array, "b H W C"], filtering: Filtering) -> Grid:
    """Returns the pixels at each place of a tile, for all tiles, (b, tiles down, tiles across, C)."""
    side, step = len(filtering.inputs[0]), filtering.step
    ends = [length - side + 1 for length in window.shape[1:3]]
    return [[window[:, i : i + ends[0] : step, j : j + ends[1] : step] for j in range(side)] for i in range(side)]


def transform(matrix: Matrix, grid: Grid) -> Grid:
    """Returns matrix @ grid @ matrix^T."""
    half = [[_sum(row, column) for column in zip(*grid, strict=True)] for row in matrix]
    return [[_sum(row, line) for row in matrix] for line in half]


def _sum(weights: Sequence[float], arrays: Sequence[Array]) -> Array:
    """Returns the weighted sum; the weights are few and mostly 0, 1 and -1."""
    terms = [array if weight == 1 else weight * array for weight, array in zip(weights, arrays, strict=True) if weight]
    return sum(terms[1:], start=terms[0])


def entries(kernel: Float[Array, "i j C K"]) -> Grid:
    """Returns the taps of a kernel as a grid."""
    return [list(row) for row in kernel]


def join(grid: Grid) -> Float[Array, "i j C K"]:
    """Returns the kernel whose taps these are."""
    return jnp.stack([jnp.stack(row) for row in grid])


def _interleave(grid: Grid) -> Float[Array, "b H W K"]:
    """Puts the pixels of each tile's result side by side."""
    side = len(grid)
    batch, down, across, channels = grid[0][0].shape
    rows = [jnp.stack(row, axis=3) for row in grid]
    return jnp.stack(rows, axis=2).reshape(batch, side * down, side * across, channels)


def _pad(x: Float[Array, "B H W C"]) -> Float[Array, "B H+2 W+2 C"]:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _correlation(x: Float[Array, "b h w C"], y: Float[Array, "b h w K"]) -> Float[Array, "C K"]:
    x, y = (array.reshape(-1, array.shape[-1]) for array in (x, y))
    return jnp.einsum("pc,pk->ck", x, y, preferred_element_type=jnp.float32)
