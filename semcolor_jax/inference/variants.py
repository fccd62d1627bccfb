"""Makes other plausible colourings of a photo, by decoding its colour distributions with a preferred hue."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64

from semcolor_jax.color import annealed_mean
from semcolor_jax.color.bins import AB_BINS
from semcolor_jax.errors import UserError
from semcolor_jax.inference.probability import probability_near

MOST = 12
"""Most variants that can be requested; more would look alike."""

STRENGTH = 1.2
"""How far a variant lies from the usual colours, in standard deviations of each pixel's sharpened distribution."""

_DIRECTIONS = 24  # hues that can be preferred, evenly spaced
_FARTHEST = 2.0  # standard deviations from the mean beyond which a colour is no longer preferred
_LEAST_SPREAD = 1.0  # CIE units; far below the bins' step


class Variant(NamedTuple):
    """Colours of a picture, CIE units, and the geometric mean over its pixels of `probability_near`."""

    ab: Float32[np.ndarray, "h w 2"]
    likelihood: float


def make_variants(
    logits: Float32[np.ndarray, "h w 313"], ab: Float32[np.ndarray, "h w 2"], *, count: int, temperature: float = 0.38
) -> list[Variant]:
    """Returns `ab` and count - 1 likely colourings that are far from it and from each other, likeliest first.

    A preferred hue tilts all distributions alike (`tilted_means`). So a variant is as smooth as the network's output: a
    region that can be red or blue is red as a whole, and certain colours hardly change. Of 24 hues, each step takes the
    one whose picture has the largest product of likelihood and distance to those already taken. There is no randomness.

    Args:
      logits: of the 313 bins.
      ab: the usual colours, CIE units.
      count: how many, 1..12.
      temperature: of the annealed mean (eq. 14), in (0, 1].

    Raises:
      UserError: the count is out of range.
    """
    check_count(count)
    angles = np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    usual = annealed_mean(logits, temperature)
    shifts = np.asarray(tilted_means(logits, STRENGTH * directions, temperature) - usual)
    # Shifts are added to the usual colours, which may come from another branch or be more saturated.
    pictures = np.concatenate([ab[None], ab + shifts])
    near = np.asarray(probability_near(logits, pictures), np.float64)
    likelihoods = np.exp(np.mean(np.log(np.maximum(near, 1e-9)), axis=(1, 2)))
    chosen = _choose(pictures, likelihoods, count)
    return [Variant(pictures[i], float(likelihoods[i])) for i in sorted(chosen, key=lambda i: -likelihoods[i])]


def check_count(count: int) -> None:
    """Raises `UserError` unless this many variants can be made."""
    if not 1 <= count <= MOST:
        raise UserError(f"The number of variants is {count}, but must lie in 1..{MOST}.")


@jax.jit
def tilted_means(
    logits: Float[Array | np.ndarray, "h w 313"], tilts: Float[Array | np.ndarray, "n 2"], temperature: float
) -> Float32[Array, "n h w 2"]:
    """Returns the means of the sharpened distributions, reweighted by exp(tilt . (ab - mean) / spread).

    The spread is the standard deviation of the pixel's sharpened distribution along the tilt. So the mean of a normal
    distribution moves by about as many standard deviations as the tilt is long, and that of a bimodal one to one of its
    modes. Beyond two standard deviations from the mean the weights stop growing, or remote colours of almost no
    probability would win.

    Args:
      logits: of the 313 bins.
      tilts: directions in the ab plane, longer for a stronger preference.
      temperature: of the annealed mean, in (0, 1].
    """
    units = tilts / jnp.linalg.norm(tilts, axis=-1, keepdims=True)
    along = jnp.matmul(units, AB_BINS.T, precision="highest")

    def of_row(row: Array) -> Array:  # row by row: n x 313 numbers a pixel are many
        sharpened = (row - jnp.max(row, axis=-1, keepdims=True)) / temperature
        probabilities = jax.nn.softmax(sharpened)
        mean, square = (jnp.matmul(probabilities, x.T, precision="highest") for x in (along, along**2))
        spread = jnp.sqrt(jnp.maximum(square - mean**2, _LEAST_SPREAD**2)).T
        deviation = (along[:, None] - mean.T[..., None]) / spread[..., None]
        weights = jnp.linalg.norm(tilts, axis=-1)[:, None, None] * jnp.clip(deviation, -_FARTHEST, _FARTHEST)
        return jnp.matmul(jax.nn.softmax(sharpened + weights), AB_BINS, precision="highest")

    return jnp.moveaxis(jax.lax.map(of_row, jnp.asarray(logits)), 0, 1)


def _choose(pictures: Float32[np.ndarray, "n h w 2"], likelihoods: Float64[np.ndarray, " n"], count: int) -> list[int]:
    """Returns the first picture, then greedily those that are likely and far from all previous ones."""
    chosen = [0]
    distance = np.full(len(pictures), np.inf)
    while len(chosen) < count:
        to_last = np.linalg.norm(pictures - pictures[chosen[-1]], axis=-1).mean(axis=(1, 2))
        distance = np.minimum(distance, to_last)
        merit = likelihoods * distance
        merit[chosen] = -1
        chosen.append(int(np.argmax(merit)))
    return chosen
