"""Convolutions of stride 1 with fewer multiplications (Winograd 1980), for CPUs.

Lavin and Gray (2016), "Fast algorithms for convolutional neural networks", section 4: a tile x of the image gives

    y = A^T [(G k G^T) * (B^T x B)] A,

where * multiplies entry by entry and sums over the input channels: one matrix product per entry, over all tiles. Tiles
of 4x4 results take 36 products instead of 144 with 3x3 kernels, and 64 instead of 400 with 5x5. The matrices are those
of polynomial interpolation (Toom and Cook) at the points below and infinity.
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

TILE = 4
"""Rows and columns of results that a tile gives."""

TAPS = (3, 5)
"""Rows and columns of the kernels for which it pays."""

MAX_TILES = 4096
"""Of all images together: with more, the products would take memory by the gigabyte."""

_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, 2.0, -0.5)
"""Small ones, their negatives and reciprocals keep the rounding errors small."""

Grid = list[list[Array]]
"""Arrays of equal shape, as the entries of a matrix."""


class Matrices(NamedTuple):
    """The matrices of one algorithm."""

    inputs: np.ndarray  # B^T
    kernel: np.ndarray  # G
    outputs: np.ndarray  # A^T


@functools.cache
def matrices(taps: int) -> Matrices:
    """Returns the matrices for kernels of so many taps a side, at most 5, float64."""
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
    return Matrices(inputs=inputs, kernel=kernel, outputs=outputs)


def pays(shape: Sequence[int], taps: int, *, padding: int) -> bool:
    """Whether `convolve` is the faster way here: on a CPU, with enough channels and not too many tiles."""
    batch, height, width, channels = shape
    if not on_one_cpu() or taps not in TAPS or channels < 16:
        return False
    down, across = _tiles(height, width, taps=taps, padding=padding)
    return batch * down * across <= MAX_TILES


def factors(kernel: Float[Array, "r r C K"]) -> Grid:
    """Returns G k G^T, each entry (C, K): what `convolve` takes for the kernel, and several times as large."""
    return _transform(matrices(len(kernel)).kernel, [list(row) for row in kernel])


def convolve(x: Float[Array, "B H W C"], factors: Grid, *, padding: int) -> Float[Array, "B h w K"]:
    """Returns the convolution of stride 1 with so many zeros around the image; h = H + 2 padding - r + 1.

    Args:
      x: the images.
      factors: of the kernel, from `factors`.
      padding: zeros on each side.
    """
    batch, height, width, channels = x.shape
    taps, features = len(factors) - TILE + 1, factors[0][0].shape[-1]
    down, across = _tiles(height, width, taps=taps, padding=padding)
    beyond = [TILE * count + taps - 1 - side - padding for count, side in ((down, height), (across, width))]
    padded = jnp.pad(x, ((0, 0), (padding, beyond[0]), (padding, beyond[1]), (0, 0)))
    side = TILE + taps - 1
    rows, columns = TILE * (down - 1) + 1, TILE * (across - 1) + 1
    algorithm = matrices(taps)
    lines = [padded[:, i : i + rows : TILE] for i in range(side)]
    # Barriers here and below: what has been summed down is not to be computed anew for each sum across.
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
    results = _transform(algorithm.outputs, products)
    y = jnp.stack([jnp.stack(row) for row in results]).reshape(TILE, TILE, batch, down, across, features)
    y = jnp.transpose(y, (2, 3, 0, 4, 1, 5)).reshape(batch, TILE * down, TILE * across, features)
    return y[:, : height + 2 * padding - taps + 1, : width + 2 * padding - taps + 1]


def _tiles(height: int, width: int, *, taps: int, padding: int) -> tuple[int, int]:
    """Returns how many tiles there are, down and across."""
    down, across = (-(-(side + 2 * padding - taps + 1) // TILE) for side in (height, width))
    return down, across


def _transform(matrix: np.ndarray, grid: Grid) -> Grid:
    """Returns matrix @ grid @ matrix^T."""
    half = [[barrier(_sum(row, column)) for column in zip(*grid, strict=True)] for row in matrix]
    return [[_sum(row, line) for row in matrix] for line in half]


def _sum(weights: Sequence[float], arrays: Sequence[Array]) -> Array:
    terms = [np.float32(weight) * array for weight, array in zip(weights, arrays, strict=True) if weight]
    return sum(terms[1:], start=terms[0])
