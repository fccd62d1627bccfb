"""Spreads colours from hinted cells over a small picture, up to its edges.

It combines two methods:

- a geodesic distance to the nearest hint, along paths that pay for changes of lightness (as in Yatziv and Sapiro 2006),
limits how far a hint's colour reaches: to the edges of the object under it;
- the optimisation of Levin, Lischinski and Weiss 2004 (like colours where neighbours are alike in lightness) makes the
result follow the picture. Hints are hard constraints; the reach is a weak one, and pulls to no difference elsewhere.

The optimisation alone, with a pull to no difference, leaves a spot around a point: its solution falls off
logarithmically.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import cg
from threadpoolctl import threadpool_limits

_GRAIN = 0.7  # cells by which lightness is blurred before distances are taken
_QUIET = 0.5  # L between neighbours that cost nothing: grain and gentle shading
_EDGE = 4.0  # L between neighbours that cost one unit of distance; twice as much costs four
_DIAGONAL = 0.5  # units of distance across the whole picture where nothing changes
_REACH = 1.0  # units of distance at which a hint has lost about two thirds of its weight
_OWN = 0.5  # share of the hint's colour itself, the rest is the network's colour moved by the difference at the hint
_PULL = 0.02  # weight of the reach against the affinities, which are at most 1
_LEVIN = 0.6  # factor on the local variance of lightness in the affinities, as in Levin's program
_VARIANCE = 1.0  # squared L added to it: differences below are no edges
_LEAST = 1e-5  # least affinity of neighbours


def spread(
    lightness: Float32[np.ndarray, "h w"],
    hinted: Int64[np.ndarray, " n"],
    *,
    network: Float32[np.ndarray, "cells 2"],
    colors: Float64[np.ndarray, "n 2"],
    differences: Float64[np.ndarray, "n 2"],
) -> Float64[np.ndarray, "h w 2"]:
    """Returns the shift to add to the network's colours, CIE units.

    Args:
      lightness: the picture's, 0..100.
      hinted: the cells under hints, row x width + column, each once and ascending.
      network: the network's colours, row by row.
      colors: the hints', in the hinted cells.
      differences: between these and the network's exactly at the hints; the result in the hinted cells.
    """
    reach, nearest = _reach(lightness, hinted)
    wanted = _OWN * (colors[nearest] - network) + (1 - _OWN) * differences[nearest]
    return _optimised(lightness, hinted, differences, reach[:, None] * wanted).reshape(*lightness.shape, 2)


class _Neighbours(NamedTuple):
    """The pairs of touching cells, corners included, and the distances between their centres."""

    first: Int64[np.ndarray, " n"]
    second: Int64[np.ndarray, " n"]
    length: Float64[np.ndarray, " n"]

    @classmethod
    def of(cls, height: int, width: int) -> _Neighbours:
        cell = np.arange(height * width).reshape(height, width)
        pairs = [
            (cell[:, :-1], cell[:, 1:]),
            (cell[:-1], cell[1:]),
            (cell[:-1, :-1], cell[1:, 1:]),
            (cell[:-1, 1:], cell[1:, :-1]),
        ]
        lengths = (1, 1, math.sqrt(2), math.sqrt(2))
        first, second = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in range(2))
        return cls(first, second, np.repeat(lengths, [one.size for one, _ in pairs]))

    def matrix(self, values: Float64[np.ndarray, " n"], cells: int) -> sparse.csr_array:
        """Returns the values of the pairs as a matrix, each once."""
        return sparse.coo_array((values, (self.first, self.second)), shape=(cells, cells)).tocsr()


def _reach(
    lightness: Float32[np.ndarray, "h w"], hinted: Int64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " cells"], Int64[np.ndarray, " cells"]]:
    """Returns the weight, 0..1, of the nearest hint in each cell, and which hint it is."""
    near = _Neighbours.of(*lightness.shape)
    level = ndimage.gaussian_filter(lightness.astype(np.float64), _GRAIN).ravel()
    change = np.maximum(np.abs(level[near.first] - level[near.second]) - _QUIET, 0)
    cost = (change / _EDGE) ** 2 + _DIAGONAL * near.length / math.hypot(*lightness.shape)
    distance, _, source = dijkstra(
        near.matrix(cost, level.size), directed=False, indices=hinted, min_only=True, return_predecessors=True
    )
    return np.exp(-((distance / _REACH) ** 2)), np.searchsorted(hinted, source)


def _optimised(
    lightness: Float32[np.ndarray, "h w"],
    hinted: Int64[np.ndarray, " n"],
    values: Float64[np.ndarray, "n 2"],
    target: Float64[np.ndarray, "cells 2"],
) -> Float64[np.ndarray, "cells 2"]:
    """Minimises affinity x (d_r - d_s)^2 over neighbours plus `_PULL` x (d - target)^2, with `values` given."""
    near = _Neighbours.of(*lightness.shape)
    level = lightness.astype(np.float64)
    variance = ndimage.uniform_filter(level**2, 3) - ndimage.uniform_filter(level, 3) ** 2
    level, variance = level.ravel(), np.maximum(variance, 0).ravel()
    around = _LEVIN * (variance[near.first] + variance[near.second]) / 2 + _VARIANCE
    affinity = np.exp(-((level[near.first] - level[near.second]) ** 2) / around) / near.length + _LEAST
    half = near.matrix(affinity, level.size)
    both = half + half.T
    system = sparse.diags_array(both.sum(axis=1) + _PULL) - both

    result = target.copy()
    result[hinted] = values
    free = np.ones(level.size, bool)
    free[hinted] = False
    if not free.any():
        return result
    rows = system.tocsr()[free]
    known = rows[:, ~free] @ values
    matrix = rows[:, free]
    scale = sparse.diags_array(1 / matrix.diagonal())
    # BLAS shares each of the many short products among threads that spin while they wait: on a busy machine five times
    # the processor's time (experiments/benchmarks/hints.py).
    with threadpool_limits(1, user_api="blas"):
        for channel in range(2):
            wanted = _PULL * target[free, channel] - known[:, channel]
            result[free, channel], _ = cg(matrix, wanted, x0=target[free, channel], rtol=1e-4, maxiter=1000, M=scale)
    return result
