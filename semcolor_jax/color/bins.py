"""The 313 colour bins of Zhang et al. (2016), and a table that finds those nearest to any colour.

The bins are the points of a grid of step 10 that count as inside the gamut. That set does not follow from a
gamut test, so it is data: for each a, a closed range of b.
"""

import functools
import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

STEP = 10
"""Distance between neighbouring bins, in CIE units."""

BIN_RUNS = (  # a, first b, last b
    (-90, 50, 90),
    (-80, 20, 90),
    (-70, 0, 90),
    (-60, -20, 90),
    (-50, -30, 100),
    (-40, -40, 100),
    (-30, -50, 100),
    (-20, -50, 100),
    (-10, -60, 100),
    (0, -70, 100),
    (10, -80, 90),
    (20, -80, 90),
    (30, -90, 90),
    (40, -100, 90),
    (50, -100, 80),
    (60, -110, 80),
    (70, -110, 80),
    (80, -110, 70),
    (90, -110, 70),
    (100, -90, 0),
)

AB_BINS = np.array([(a, b) for a, first, last in BIN_RUNS for b in range(first, last + STEP, STEP)], dtype=np.float32)
"""(313, 2) float32: a and b of every bin, a ascending, then b ascending."""

NUM_BINS = len(AB_BINS)
assert NUM_BINS == 313, NUM_BINS
AB_BINS.setflags(write=False)

BIN_TABLE_ID = hashlib.sha256(AB_BINS.astype("<i2").tobytes()).hexdigest()[:16]
"""Names the table and its order. Files that hold one number per bin record it."""

NEAREST = 5
"""How many bins describe a colour (paper, section III-B)."""

LIMIT = 130.0
"""The cells cover -130..130 in a and b; colours beyond are clipped to this border first."""

CELL = 2.5
"""Side of a cell. The lines on which two bins are equally near meet at multiples of 5, so cells that end there have
fewer candidates than other, even smaller, ones."""

CELLS_PER_SIDE = int(2 * LIMIT / CELL)

CANDIDATES = 7
"""Most bins that are among the five nearest anywhere in one cell."""

_SHORTLIST = 14  # bins per cell before the exact test; more than ever needed, which is asserted


class CellTable(NamedTuple):
    """The list of candidates of each of the C = CELLS_PER_SIDE ** 2 cells; cells are ordered by a, then b.

    Attributes:
      grid: the candidates' grid coordinates, three to a word: candidate k is in bits 10 (k % 3) and up of
        word k // 3. Ten bits are 32 * row + column, where a = 10 row - 130 and b = 10 column - 130. The search reads a
            whole list, and packing makes this three gathers instead of seven.
      bins: the candidates' bins and, above 9 bits, their ten bits of grid coordinates. Flat: cell * 7 + k.
    """

    grid: Int32[np.ndarray, "3 C"]
    bins: Int32[np.ndarray, "7*C"]


BIN_BITS = 9
GRID_BITS = 10
COLUMN_BITS = 5


@functools.cache
def cell_table() -> CellTable:
    """Returns the table, built once per process (some tenths of a second)."""
    lists = candidate_lists()
    row_column = ((AB_BINS + LIMIT) / STEP).astype(np.int32)
    packed = (row_column[:, 0] << COLUMN_BITS | row_column[:, 1])[lists]
    words = [
        sum(packed[:, k] << GRID_BITS * (k - first) for k in range(first, min(first + 3, CANDIDATES)))
        for first in range(0, CANDIDATES, 3)
    ]
    return CellTable(
        grid=np.stack(words).astype(np.int32), bins=(packed << BIN_BITS | lists).astype(np.int32).reshape(-1)
    )


def candidate_lists() -> Int32[np.ndarray, "C 7"]:
    """Finds, for every cell, all bins that are among the five nearest to any of its points.

    The difference of the squared distances to two bins is linear in the point. So bin i is nearer than bin j in a whole
    cell if and only if it is at the four corners, and j can be left out when five bins are nearer in the whole cell.
    This is much tighter than comparing the cell's least and greatest distances (7 candidates against 13). Shorter lists
    are padded with the next bins, which is harmless.
    """
    edges = np.arange(CELLS_PER_SIDE + 1) * CELL - LIMIT
    low = np.stack(np.meshgrid(edges[:-1], edges[:-1], indexing="ij"), axis=-1).reshape(-1, 2)
    shortlist = _nearest_to_centres(low + CELL / 2)
    never_farther = np.ones((len(low), _SHORTLIST, _SHORTLIST), dtype=bool)  # cell, bin i, bin j
    for corner in ((0, 0), (0, CELL), (CELL, 0), (CELL, CELL)):
        # Exact in float32: the coordinates are multiples of 2.5.
        distance = np.sum((AB_BINS[shortlist] - (low + corner)[:, None].astype(np.float32)) ** 2, axis=-1)
        never_farther &= distance[:, :, None] <= distance[:, None, :]
    nearer = never_farther & ~np.swapaxes(never_farther, 1, 2)
    excluded = np.sum(nearer, axis=1) >= NEAREST
    assert np.max(np.sum(~excluded, axis=1)) == CANDIDATES
    candidates_first = np.argsort(excluded, axis=1, kind="stable")[:, :CANDIDATES]
    return np.take_along_axis(shortlist, candidates_first, axis=1).astype(np.int32)


def _nearest_to_centres(centres: np.ndarray) -> np.ndarray:
    """Returns the `_SHORTLIST` bins nearest to each centre, in that order: (C, 14)."""
    distance = np.hypot(*(centres[:, None, axis] - AB_BINS[:, axis] for axis in (0, 1)))
    some = np.argpartition(distance, _SHORTLIST, axis=1)[:, : _SHORTLIST + 1]
    order = np.argsort(np.take_along_axis(distance, some, axis=1), axis=1, kind="stable")
    ordered = np.take_along_axis(some, order, axis=1)
    ranked = np.take_along_axis(distance, ordered, axis=1)
    # So far behind the fifth that no point of the cell, half a diagonal from the centre, can prefer the next.
    assert np.all(ranked[:, _SHORTLIST] - ranked[:, NEAREST - 1] > np.sqrt(2) * CELL)
    return ordered[:, :_SHORTLIST]
