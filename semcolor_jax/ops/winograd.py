"""Convolutions of stride 1 with fewer multiplications (Winograd 1980), for CPUs.

Lavin and Gray (2016), "Fast algorithms for convolutional neural networks", section 4, write the convolution of a tile x
of the image with a kernel k as

    y = A^T [(G k G^T) * (B^T x B)] A,

where * is the product of each pair of entries, summed over the input channels: one matrix product per entry, over all
tiles. Two sizes of tiles are in use.

Training takes small ones, whose transforms are additions and cost little, a few rows of tiles at a time. `SAME` is
Lavin and Gray's F(2x2, 3x3): 16 products give the four pixels that take 36 otherwise. Where the image has been
upsampled 2x by nearest neighbours, most of a window's pixels are equal, and 9 suffice. Along one axis

    y[2p]     = k0 x[p - 1] + (k1 + k2) x[p] = k0 (x[p - 1] - x[p]) + (k0 + k1 + k2) x[p]
    y[2p + 1] = (k0 + k1) x[p] + k2 x[p + 1] = k2 (x[p + 1] - x[p]) + (k0 + k1 + k2) x[p],

three products for two pixels (`UPSAMPLED`).

Networks with fixed kernels transform them once, and use tiles of 4x4 results: 36 products instead of 144 with 3x3
kernels, 64 instead of 400 with 5x5 (`prepare`, `convolve_transformed`). Their matrices are those of polynomial
interpolation (Toom and Cook) at a few points and infinity.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semcolor_jax.backend import barrier, on_one_cpu
from semcolor_jax.ops.rows import rows_per_chunk

CHUNK_TILES = 1024
"""Most tiles with transforms in memory at once in training, unless one row has more."""

TILE = 4
"""Rows and columns of results of a tile of `convolve_transformed`."""

TAPS = (3, 5)
"""Rows and columns of the kernels for which such tiles pay."""

MAX_TILES = 4096
"""Tiles of all images together: with more, the products would take gigabytes of memory."""

_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, 2.0, -0.5)
"""Small points, their negatives and reciprocals keep rounding errors small."""

Matrix = tuple[tuple[float, ...], ...]
Grid = list[list[Array]]
"""Arrays of equal shape, as the entries of a matrix."""


class Algorithm(NamedTuple):
    """The matrices of one algorithm. Tiles have as many rows as B, and `step` pixels from one to the next."""

    inputs: Matrix  # B^T
    kernel: Matrix  # G
    outputs: Matrix  # A^T
    step: int


SAME = Algorithm(
    inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    kernel=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
    step=2,
)
"""SAME convolution of an image with even sides."""

_ENDS_AND_SUM: Matrix = ((1, 0, 0), (1, 1, 1), (0, 0, 1))

UPSAMPLED = Algorithm(
    inputs=((1, -1, 0), (0, 1, 0), (0, -1, 1)), kernel=_ENDS_AND_SUM, outputs=((1, 1, 0), (0, 1, 1)), step=1
)
"""SAME convolution of the image after 2x upsampling, computed from the small image."""

_REDUCED = Algorithm(
    inputs=((0, -1, 0, 1), (0, 1, 1, 0), (1, 0, -1, 0)), kernel=_ENDS_AND_SUM, outputs=((1, 1, 1),), step=2
)
"""The transpose of `UPSAMPLED`: halves an image's sides. The kernel is not flipped for it."""


def apply(algorithm: Algorithm, x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C K"]) -> Float[Array, "B h w K"]:
    """Returns the convolution of x, padded by one pixel of zeros, in x's dtype.

    With `SAME` the sides of x are even and the result is of x's size; with `UPSAMPLED` it is of twice that size.
    """
    return _apply(algorithm, x, entries(kernel), products="bhwc,ck->bhwk")


def input_gradient(
    algorithm: Algorithm, upstream: Float[Array, "B h w K"], kernel: Float[Array, "3 3 C K"]
) -> Float[Array, "B H W C"]:
    """Returns the gradient of `apply` with respect to x."""
    taps = entries(kernel)
    if algorithm is UPSAMPLED:
        return _apply(_REDUCED, upstream, taps, products="bhwk,ck->bhwc")
    return _apply(SAME, upstream, [row[::-1] for row in taps[::-1]], products="bhwk,ck->bhwc")


def _apply(algorithm: Algorithm, x: Array, taps: Grid, *, products: str) -> Array:
    factors = transform(algorithm.kernel, taps)

    def block(window: Array) -> Array:
        tiles = transform(algorithm.inputs, _taps(window, algorithm))
        results = [
            [jnp.einsum(products, *pair) for pair in zip(*rows, strict=True)]
            for rows in zip(tiles, factors, strict=True)
        ]
        return _interleave(transform(algorithm.outputs, results))

    tiles_down = x.shape[1] // algorithm.step
    bands = _Bands.of(x.shape[0], tiles_down, x.shape[2] // algorithm.step)
    padded = _pad(x)
    if bands.number == 1:
        return block(padded)
    _, results = jax.lax.scan(
        lambda carry, index: (carry, block(_window(padded, algorithm, bands, index))), None, jnp.arange(bands.number)
    )
    side = len(algorithm.outputs)
    return results.reshape(x.shape[0], side * tiles_down, *results.shape[3:])


def kernel_gradient(
    algorithm: Algorithm, x: Float[Array, "B H W C"], upstream: Float[Array, "B h w K"]
) -> Float[Array, "3 3 C K"]:
    """Returns the gradient of `apply` with respect to the kernel, float32.

    Args:
      algorithm: `SAME` or `UPSAMPLED`.
      x: as in `apply`.
      upstream: the gradient with respect to its result.
    """
    outputs_transposed = tuple(zip(*algorithm.outputs, strict=True))
    kernel_transposed = tuple(zip(*algorithm.kernel, strict=True))
    side = len(algorithm.outputs)

    def block(window: Array, gradient: Array) -> Grid:
        tiles = transform(algorithm.inputs, _taps(window, algorithm))
        corners = [[gradient[:, i::side, j::side] for j in range(side)] for i in range(side)]
        factors = transform(outputs_transposed, corners)
        return [[_correlation(*pair) for pair in zip(*rows, strict=True)] for rows in zip(tiles, factors, strict=True)]

    bands = _Bands.of(x.shape[0], x.shape[1] // algorithm.step, x.shape[2] // algorithm.step)
    padded = _pad(x)
    if bands.number == 1:
        return join(transform(kernel_transposed, block(padded, upstream)))
    upstream = upstream.reshape(bands.number, 1, -1, *upstream.shape[2:])

    def add(total: Grid, inputs: tuple[Array, Array]) -> tuple[Grid, None]:
        index, gradient = inputs
        return jax.tree.map(jnp.add, total, block(_window(padded, algorithm, bands, index), gradient)), None

    size = len(algorithm.inputs)
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
        rows = rows_per_chunk(down, row_pixels=across, pixels=CHUNK_TILES)
        return cls(number=batch * (down // rows), per_image=down // rows, rows=rows)


def _window(padded: Array, algorithm: Algorithm, bands: _Bands, index: Array) -> Array:
    """Returns the padded pixels that a band's tiles cover, (1, ., ., C)."""
    rows = algorithm.step * (bands.rows - 1) + len(algorithm.inputs[0])
    top = index % bands.per_image * bands.rows * algorithm.step
    start = (index // bands.per_image, top, jnp.zeros_like(top), jnp.zeros_like(top))
    return jax.lax.dynamic_slice(padded, start, (1, rows, *padded.shape[2:]))


def _taps(window: Float[Array, "b H W C"], algorithm: Algorithm) -> Grid:
    """Returns the pixels at each place of a tile, for all tiles, (b, tiles down, tiles across, C)."""
    side, step = len(algorithm.inputs[0]), algorithm.step
    ends = [length - side + 1 for length in window.shape[1:3]]
    return [[window[:, i : i + ends[0] : step, j : j + ends[1] : step] for j in range(side)] for i in range(side)]


@functools.cache
def large_tiles(taps: int) -> Algorithm:
    """Returns the algorithm whose tiles give 4x4 results, for kernels of at most 5 taps a side."""
    side = TILE + taps - 1
    points = np.array(_POINTS[: side - 1])
    outputs = np.zeros((TILE, side))
    kernel = np.zeros((side, taps))
    inputs = np.zeros((side, side))
    for index, point in enumerate(points):
        others = np.delete(points, index)
        outputs[:, index] = point ** np.arange(TILE)
        kernel[index] = point ** np.arange(taps) / np.prod(point - others)
        inputs[index, :-1] = np.poly(others)[::-1]
    outputs[-1, -1] = kernel[-1, -1] = 1
    inputs[-1] = np.poly(points)[::-1]
    return Algorithm(*(tuple(map(tuple, matrix.tolist())) for matrix in (inputs, kernel, outputs)), step=TILE)


def pays(shape: Sequence[int], taps: int, *, padding: int) -> bool:
    """Whether `convolve_transformed` is the faster way here: on a CPU, with enough channels and not too many tiles."""
    batch, height, width, channels = shape
    if not on_one_cpu() or taps not in TAPS or channels < 16:
        return False
    down, across = _count_tiles(height, width, taps=taps, padding=padding)
    return batch * down * across <= MAX_TILES


def prepare(kernel: Float[Array, "r r C K"]) -> Grid | None:
    """Returns what `convolve_transformed` takes for a fixed kernel; None where that never pays."""
    return transform_kernel(kernel) if on_one_cpu() and len(kernel) in TAPS else None


def transform_kernel(kernel: Float[Array, "r r C K"]) -> Grid:
    """Returns G k G^T, each entry (C, K): what `convolve_transformed` takes, several times as large."""
    return transform(large_tiles(len(kernel)).kernel, entries(kernel), hold=True)


def convolve_transformed(x: Float[Array, "B H W C"], factors: Grid, *, padding: int) -> Float[Array, "B h w K"]:
    """Returns the convolution of stride 1 with `padding` zeros around the image; h = H + 2 padding - r + 1.

    Args:
      x: the images.
      factors: of the kernel, from `transform_kernel`.
      padding: zeros on each side.
    """
    batch, height, width, channels = x.shape
    taps, features = len(factors) - TILE + 1, factors[0][0].shape[-1]
    down, across = _count_tiles(height, width, taps=taps, padding=padding)
    beyond = [TILE * count + taps - 1 - side - padding for count, side in ((down, height), (across, width))]
    padded = jnp.pad(x, ((0, 0), (padding, beyond[0]), (padding, beyond[1]), (0, 0)))
    side = TILE + taps - 1
    rows, columns = TILE * (down - 1) + 1, TILE * (across - 1) + 1
    algorithm = large_tiles(taps)
    lines = [padded[:, i : i + rows : TILE] for i in range(side)]
    # Barriers here and below keep XLA from recomputing the sums down for each sum across.
    halves = [barrier(_sum(row, lines)) for row in algorithm.inputs]
    tiles = [
        [_sum(row, [half[:, :, j : j + columns : TILE] for j in range(side)]) for row in algorithm.inputs]
        for half in halves
    ]
    # One product per entry: XLA's batched product takes half as long again.
    products = [
        [jnp.matmul(tile.reshape(-1, channels), factor, precision=jax.lax.Precision.HIGHEST) for tile, factor in pairs]
        for pairs in (zip(*both, strict=True) for both in zip(tiles, factors, strict=True))
    ]
    results = transform(algorithm.outputs, products, hold=True)
    y = join(results).reshape(TILE, TILE, batch, down, across, features)
    y = jnp.transpose(y, (2, 3, 0, 4, 1, 5)).reshape(batch, TILE * down, TILE * across, features)
    return y[:, : height + 2 * padding - taps + 1, : width + 2 * padding - taps + 1]


def _count_tiles(height: int, width: int, *, taps: int, padding: int) -> tuple[int, int]:
    """Returns how many tiles there are, down and across."""
    down, across = (-(-(side + 2 * padding - taps + 1) // TILE) for side in (height, width))
    return down, across


def transform(matrix: Matrix, grid: Grid, *, hold: bool = False) -> Grid:
    """Returns matrix @ grid @ matrix^T.

    With `hold`, XLA does not recompute the sums down for each sum across: it pays with large matrices.
    """
    half = [[_sum(row, column) for column in zip(*grid, strict=True)] for row in matrix]
    half = [[barrier(x) for x in row] for row in half] if hold else half
    return [[_sum(row, line) for row in matrix] for line in half]


def _sum(weights: Sequence[float], arrays: Sequence[Array]) -> Array:
    """Returns the weighted sum, in the arrays' type; the weights of small tiles are mostly 0, 1 and -1."""
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
