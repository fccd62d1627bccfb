"""Decodes logits over the colour bins to ab (paper, eqs. 13-15)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Float32

from semcolor_jax.color.bins import AB_BINS, NUM_BINS
from semcolor_jax.errors import UserError


def check_temperature(temperature: float) -> None:
    """Raises `UserError` unless the temperature lies in (0, 1] and does not underflow to 0 in float32."""
    if not np.finfo(np.float32).tiny <= temperature <= 1:
        raise UserError(
            f"The temperature is {temperature}, but must lie in (0, 1], and not so near 0 that it underflows."
        )


def annealed_mean(
    logits: Float[Array | np.ndarray, "*n 313"], temperature: float | Float[Array, ""] = 0.38
) -> Float32[Array, "*n 2"]:
    """Returns the mean colour of the sharpened distribution softmax(logits / T) (eqs. 14, 15).

    Args:
      logits: over the bins; log-probabilities also work.
      temperature: in (0, 1]. 1 gives the mean, which is dull; towards 0 it becomes the mode. May be traced,
        and is then not checked.

    Returns:
      a and b in CIE units.

    Raises:
      UserError: if the temperature is outside (0, 1], or underflows.
      ValueError: if the last axis of the logits is not 313.
    """
    _check(logits)
    if not isinstance(temperature, Tracer):
        check_temperature(float(temperature))
    logits = logits.astype(jnp.float32)
    # The maximum is subtracted before the division: a tiny temperature then gives 0 and -inf, not inf - inf.
    sharpened = (logits - jnp.max(logits, axis=-1, keepdims=True)) / temperature
    return jnp.matmul(jax.nn.softmax(sharpened, axis=-1), AB_BINS, precision="highest")


def mode(logits: Float[Array | np.ndarray, "*n 313"]) -> Float32[Array, "*n 2"]:
    """Returns the colour of the most probable bin, a and b in CIE units (eq. 13).

    Raises:
      ValueError: if the last axis of the logits is not 313.
    """
    _check(logits)
    return jnp.asarray(AB_BINS)[jnp.argmax(logits, axis=-1)]


def _check(logits: Float[Array | np.ndarray, "..."]) -> None:
    if logits.ndim < 1 or logits.shape[-1] != NUM_BINS:
        raise ValueError(f"logits need a last axis of {NUM_BINS}, got the shape {logits.shape}")
