"""Random colour hints, as `siggraph17` is trained with: a few small patches of the true colour."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LARGEST_PATCH = 9
"""Pixels a side; sides are drawn evenly from 1 up."""

MOST_HINTS = 32
"""Per photo; at the published stopping chance of 1/8 more would come up 14 times in 1000 photos."""


def random_hints(key: jax.Array, ab: Float[Array, "b h w 2"], *, stop: float) -> Float[Array, "b h w 3"]:
    """Returns hints for `Siggraph17`: a, b (CIE units) and a mask of 1 where there is a hint; all 0 elsewhere.

    Each photo gets a geometric number of patches, the mean colour of each its hint. Their places are normally
    distributed around the middle, with a quarter of the side as deviation.

    Args:
      key: of the randomness.
      ab: the true colours.
      stop: chance, before each patch, that no further one comes; 1 gives none.
    """
    batch, height, width = ab.shape[:3]
    goes_key, side_key, place_key = jax.random.split(key, 3)
    goes = jnp.cumprod(jax.random.bernoulli(goes_key, 1 - stop, (MOST_HINTS, batch)).astype(jnp.int32), axis=0)
    largest = min(LARGEST_PATCH, height, width)
    side = jax.random.randint(side_key, (MOST_HINTS, batch), 1, largest + 1)
    room = jnp.asarray([height, width]) - side[..., None]
    place = room / 2 + (room + 1) / 4 * jax.random.normal(place_key, (MOST_HINTS, batch, 2))
    corner = jnp.clip(place, 0, room).astype(jnp.int32)

    def add(hints: Array, patch: tuple[Array, Array, Array]) -> tuple[Array, None]:
        goes, side, corner = patch
        inside = _between(height, corner[:, 0], side)[:, :, None] & _between(width, corner[:, 1], side)[:, None, :]
        inside = (inside & (goes > 0)[:, None, None])[..., None]
        total = jnp.sum(jnp.where(inside, ab, 0.0), axis=(1, 2), keepdims=True)
        mean = total / jnp.maximum(jnp.sum(inside, axis=(1, 2), keepdims=True), 1)
        hint = jnp.concatenate([mean, jnp.ones((batch, 1, 1, 1))], axis=-1)
        return jnp.where(inside, hint, hints), None

    hints, _ = jax.lax.scan(add, jnp.zeros((batch, height, width, 3)), (goes, side, corner))
    return hints


def _between(length: int, start: Array, count: Array) -> Array:
    """Returns (b, length) booleans, true from `start` for `count` places."""
    index = jnp.arange(length)
    return (index >= start[:, None]) & (index < (start + count)[:, None])
