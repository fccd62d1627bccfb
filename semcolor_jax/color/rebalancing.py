"""Computes class rebalancing: rare colours weigh more in the loss (paper, eqs. 11 and 12; Zhang et al., 2016).

Computed once per training, on the host, in float64.
"""

import numpy as np
from jaxtyping import Float, Float32, Num

from semcolor_jax.color.bins import AB_BINS, NUM_BINS, STEP
from semcolor_jax.errors import UserError


def rebalancing_weights(
    prior: Num[np.ndarray, "313"], uniform_share: float = 0.5, sigma: float = 5.0
) -> Float32[np.ndarray, "313"]:
    """Returns every bin's weight w = 1 / ((1 - lambda) P + lambda / Q), scaled to sum P w = 1 (eq. 12).

    P is the smoothed prior, Q = 313.

    Args:
      prior: how often each bin occurs in the training set, as counts or as probabilities.
      uniform_share: lambda, in 0..1: how much of the uniform distribution is mixed in; 1 makes all weights 1.
      sigma: the smoothing's, in CIE units.

    Raises:
      UserError: if an argument is out of its range, or lambda is 0 and a bin has no probability even when
        smoothed.
    """
    if not 0 <= uniform_share <= 1:
        raise UserError(f"The lambda of the rebalancing is {uniform_share}, but must lie in 0..1.")
    smooth = smooth_prior(prior, sigma)
    mixed = (1 - uniform_share) * smooth + uniform_share / NUM_BINS
    if np.min(mixed) < np.finfo(np.float32).tiny:
        raise UserError("The colour prior has empty bins, so the rebalancing's lambda must be above 0.")
    weights = 1 / mixed
    return (weights / np.sum(smooth * weights)).astype(np.float32)


def smooth_prior(prior: Num[np.ndarray, "313"], sigma: float = 5.0) -> Float[np.ndarray, "313"]:
    """Interpolates the prior bicubically in the ab plane and smooths it by a Gaussian (eq. 11).

    Where the grid has no bin, outside the gamut, the prior is 0. The interpolation is Keys' cubic convolution (IEEE
    Trans. ASSP, 1981) to steps of one CIE unit; negative overshoots are set to 0. The Gaussian is evaluated at the
    bins. Mass beyond them is lost, and the rest is normalised to 1, as eq. 11 says.

    Args:
      prior: counts or probabilities.
      sigma: the Gaussian's, in CIE units.

    Returns:
      float64 probabilities; their sum is 1.

    Raises:
      UserError: if the prior is not 313 finite numbers, none negative and not all 0, or sigma is not above 0.
    """
    prior = np.asarray(prior, dtype=np.float64)
    if prior.shape != (NUM_BINS,):
        raise UserError(f"The colour prior has the shape {prior.shape}, but must hold {NUM_BINS} numbers.")
    if not (np.all(np.isfinite(prior)) and np.all(prior >= 0) and np.sum(prior) > 0):
        raise UserError("The colour prior must hold finite numbers, none negative and not all 0.")
    if not 0 < sigma < np.inf:
        raise UserError(f"The sigma of the prior's smoothing is {sigma}, but must be above 0 and finite.")
    a, b = (np.arange(bins.min(), bins.max() + STEP, STEP) for bins in AB_BINS.T)  # nodes of the grid along each axis
    place = tuple(((AB_BINS - [a[0], b[0]]) / STEP).astype(int).T)
    grid = np.zeros((len(a), len(b)))
    grid[place] = prior / np.sum(prior)
    interpolated = np.maximum(_cubic(a) @ grid @ _cubic(b).T, 0)
    smooth = (_gaussian(a, sigma) @ interpolated @ _gaussian(b, sigma).T)[place]
    return smooth / np.sum(smooth)


def _fine(nodes: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, " fine"]:
    """Returns places in steps of 1 as far as the interpolation reaches: two grid steps beyond the grid."""
    return np.arange(nodes[0] - 2 * STEP, nodes[-1] + 2 * STEP + 1)


def _cubic(nodes: Float[np.ndarray, " nodes"]) -> Float[np.ndarray, "fine nodes"]:
    """Returns Keys' kernel with a = -1/2, from every node to every place of `_fine`."""
    t = np.abs(_fine(nodes)[:, None] - nodes) / STEP
    near, far = (1.5 * t - 2.5) * t**2 + 1, ((2.5 - 0.5 * t) * t - 4) * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _gaussian(nodes: Float[np.ndarray, " nodes"], sigma: float) -> Float[np.ndarray, "nodes fine"]:
    return np.exp(-((nodes[:, None] - _fine(nodes)) ** 2) / (2 * sigma**2))
