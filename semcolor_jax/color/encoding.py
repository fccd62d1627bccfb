"""Soft-encodes colours as Gaussian weights of their five nearest bins (paper, section III-B).

The search looks up the colour's cell, computes 7 distances instead of 313, and sorts them by a fixed network of
compare-exchanges, which runs on whole vectors of pixels where `lax.top_k` would run pixel by pixel. The optimization
barriers stop XLA from fusing a stage into each of its consumers, which would recompute it for each of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, Num

from semcolor_jax.backend import barrier
from semcolor_jax.color import bins
from semcolor_jax.errors import UserError

SORTING_NETWORK = (
    *((0, 6), (2, 3), (4, 5)),
    *((0, 2), (1, 4), (3, 6)),
    *((0, 1), (2, 5), (3, 4)),
    *((1, 2), (4, 6)),
    *((2, 3), (4, 5)),
    *((1, 2), (3, 4)),
)
"""Compare-exchanges that bring the five smallest of seven values to the front, in order (Knuth, 5.3.4)."""

_SLOT_BITS = 3  # a place in a list of seven


class SoftCode(NamedTuple):
    """A colour as weights of bins.

    Attributes:
      indices: the five nearest bins, nearest first.
      weights: their weights, which sum to 1.
    """

    indices: Int32[Array, "*n 5"]
    weights: Float32[Array, "*n 5"]


class SoftPlanes(NamedTuple):
    """`SoftCode` as one array per neighbour: cheaper to compute, for code that works on whole planes.

    Attributes:
      indices: five arrays, of the nearest bins first.
      weights: five arrays, which sum to 1.
    """

    indices: tuple[Int32[Array, "*n"], ...]
    weights: tuple[Float32[Array, "*n"], ...]


def soft_encode(ab: Num[Array | np.ndarray, "*n 2"], sigma: float = 5.0) -> SoftCode:
    """Encodes colours as weights exp(-d^2 / (2 sigma^2)) of their five nearest bins, renormalised to sum 1.

    No gradient flows. Bins whose distances agree to about six digits may come in either order.

    Args:
      ab: a and b in CIE units; clipped to -130..130 first (sRGB itself stays within -108..99).
      sigma: the Gaussian's, in CIE units.

    Raises:
      UserError: if sigma is not above 0.
      ValueError: if the last axis of ab is not 2.
    """
    _check(sigma)
    points = _locate(ab)
    slots = barrier(_five_nearest_slots(points))
    slot = slots[:, None] >> _SLOT_BITS * jnp.arange(bins.NEAREST) & 2**_SLOT_BITS - 1
    words = barrier(_candidate(points.cell[:, None], slot))
    distance = _squared_distance(words >> bins.BIN_BITS, a=points.a[:, None], b=points.b[:, None])
    # Relative to the nearest bin, so that one weight is 1 before normalising, at any distance.
    weights = jnp.exp((distance[:, :1] - distance) / (2 * sigma**2))
    total = sum(weights[:, k] for k in range(bins.NEAREST))  # XLA's CPU backend reduces such a short axis slowly
    shape = (*ab.shape[:-1], bins.NEAREST)
    return SoftCode(indices=_bin(words).reshape(shape), weights=(weights / jnp.expand_dims(total, -1)).reshape(shape))


def soft_encode_planes(ab: Num[Array | np.ndarray, "*n 2"], sigma: float = 5.0) -> SoftPlanes:
    """`soft_encode`, with the result in planes: `jnp.stack(planes.indices, axis=-1)` are the indices of the code.

    Takes the arguments of `soft_encode` and raises the same errors.
    """
    _check(sigma)
    points, shape = _locate(ab), ab.shape[:-1]
    slots = barrier(_five_nearest_slots(points))
    words = barrier([_candidate(points.cell, slots >> _SLOT_BITS * k & 2**_SLOT_BITS - 1) for k in range(bins.NEAREST)])
    distances = [_squared_distance(word >> bins.BIN_BITS, a=points.a, b=points.b) for word in words]
    weights = [jnp.exp((distances[0] - distance) / (2 * sigma**2)) for distance in distances]
    scale = barrier(1 / sum(weights[1:], start=weights[0]))
    return SoftPlanes(
        indices=tuple(_bin(word).reshape(shape) for word in words),
        weights=tuple((weight * scale).reshape(shape) for weight in weights),
    )


def soft_encode_nearest(
    ab: Float[Array | np.ndarray, "*n 2"], *, nearest: int, sigma: float = 5.0
) -> tuple[Int32[Array, "*n k"], Float32[Array, "*n k"]]:
    """`soft_encode` with any number of nearest bins: their indices, nearest first, and their weights.

    Compares with all 313 bins, so it is for images of reduced size, as in the training of Zhang et al. (2016; 10 bins).
    No gradient flows.
    """
    ab = jax.lax.stop_gradient(jnp.asarray(ab, jnp.float32))
    squared = jnp.sum(jnp.square(ab[..., None, :] - bins.AB_BINS), axis=-1)
    negative, indices = jax.lax.top_k(-squared, nearest)
    return indices, jax.nn.softmax(negative / (2 * sigma**2), axis=-1)


def nearest_bin(ab: Num[Array | np.ndarray, "*n 2"]) -> Int32[Array, "*n"]:
    """Returns the bin nearest to each colour: like `soft_encode(ab).indices[..., 0]`, but cheaper, for histograms.

    Raises:
      ValueError: if the last axis of ab is not 2.
    """
    points = _locate(ab)
    first, *others = _keys(points)
    for other in others:
        first = jnp.minimum(first, other)
    return _bin(_candidate(points.cell, first & 2**_SLOT_BITS - 1)).reshape(ab.shape[:-1])


def _check(sigma: float) -> None:
    if not sigma > 0:
        raise UserError(f"The sigma of the soft-encoding is {sigma}, but must be above 0.")


class _Located(NamedTuple):
    """Colours, flattened, and their cells."""

    cell: Int32[Array, "n"]
    a: Float32[Array, "n"]
    b: Float32[Array, "n"]


def _locate(ab: Num[Array | np.ndarray, "*n 2"]) -> _Located:
    if jnp.ndim(ab) < 1 or ab.shape[-1] != 2:
        raise ValueError(f"ab needs a last axis of 2, got the shape {jnp.shape(ab)}")
    ab = jax.lax.stop_gradient(jnp.asarray(ab, jnp.float32)).reshape(-1, 2)
    ab = jnp.clip(ab, -bins.LIMIT, bins.LIMIT)
    # Clipped again as integers: the upper border belongs to the last cell, and NaN must stay in bounds.
    place = jnp.clip(((ab + bins.LIMIT) / bins.CELL).astype(jnp.int32), 0, bins.CELLS_PER_SIDE - 1)
    cell = place[:, 0] * bins.CELLS_PER_SIDE + place[:, 1]
    return barrier(_Located(cell=cell, a=ab[:, 0], b=ab[:, 1]))


def _keys(points: _Located) -> list[Int32[Array, "n"]]:
    """Returns one integer per candidate; they sort like the distances, and the low bits identify the candidate.

    Non-negative floats sort like their bits. The three bits given up cost one part in 2^20.
    """
    words = barrier([_take(row, points.cell) for row in bins.cell_table().grid])
    keys = []
    for slot in range(bins.CANDIDATES):
        grid = words[slot // 3] >> bins.GRID_BITS * (slot % 3) & 2**bins.GRID_BITS - 1
        distance = _squared_distance(grid, a=points.a, b=points.b)
        bits = jax.lax.bitcast_convert_type(distance, jnp.int32)
        keys.append(bits & -(2**_SLOT_BITS) | slot)
    return keys


def _five_nearest_slots(points: _Located) -> Int32[Array, "n"]:
    """Returns the places of the five nearest in the cell's list, three bits each, the nearest lowest.

    One word holds them all, because XLA computes the sorting network once per output array.
    """
    keys = _keys(points)
    for i, j in SORTING_NETWORK:
        keys[i], keys[j] = jnp.minimum(keys[i], keys[j]), jnp.maximum(keys[i], keys[j])
    slots = jnp.zeros_like(points.cell)
    for k in range(bins.NEAREST):
        slots |= (keys[k] & 2**_SLOT_BITS - 1) << _SLOT_BITS * k
    return slots


def _squared_distance(grid: Int32[Array, "..."], *, a: Float[Array, "..."], b: Float[Array, "..."]):
    row, column = grid >> bins.COLUMN_BITS, grid & 2**bins.COLUMN_BITS - 1
    bin_a = row.astype(jnp.float32) * bins.STEP - bins.LIMIT
    bin_b = column.astype(jnp.float32) * bins.STEP - bins.LIMIT
    return (a - bin_a) ** 2 + (b - bin_b) ** 2


def _candidate(cell: Int32[Array, "..."], slot: Int32[Array, "..."]) -> Int32[Array, "..."]:
    return _take(bins.cell_table().bins, cell * bins.CANDIDATES + slot)


def _bin(word: Int32[Array, "..."]) -> Int32[Array, "..."]:
    return word & 2**bins.BIN_BITS - 1


def _take(table: Int32[np.ndarray, "m"], index: Int32[Array, "..."]) -> Int32[Array, "..."]:
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds")
