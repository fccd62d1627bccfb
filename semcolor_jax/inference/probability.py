"""Computes how likely a picture's colours are under the network's distributions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from semcolor_jax.color.bins import AB_BINS

CONFIDENCE_RADIUS = 20.0
"""CIE units in ab, two steps of the bins: colours this close have the same name."""


@jax.jit
def probability_near(
    logits: Float[Array | np.ndarray, "h w 313"],
    ab: Float[Array | np.ndarray, "n h w 2"],
    radius: float = CONFIDENCE_RADIUS,
) -> Float32[Array, "n h w"]:
    """Returns the probability of all bins within `radius` of each colour, in 0..1, for n pictures of colours.

    Args:
      logits: of the 313 bins.
      ab: CIE units.
      radius: CIE units.
    """

    def of_row(row: tuple[Array, Array]) -> Array:  # row by row: n x 313 distances a pixel are many
        row_logits, colors = row
        near = jnp.sum((colors[..., None, :] - AB_BINS) ** 2, axis=-1) <= radius**2
        return jnp.sum(jax.nn.softmax(row_logits) * near, axis=-1)

    return jnp.moveaxis(jax.lax.map(of_row, (jnp.asarray(logits), jnp.moveaxis(jnp.asarray(ab), 1, 0))), 0, 1)
