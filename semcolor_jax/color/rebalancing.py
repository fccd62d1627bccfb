"""Class rebalancing: rare colours weigh more in the loss (paper, eqs. 11 and 12; Zhang et al., 2016).

Computed once per training, on the host, in float64.
"""

import numpy as np
from jaxtyping import Float, Float32, Num

from semcolor_jax.color.bins import AB_BINS, NUM_BINS
from semcolor_jax.errors import UserError


def rebalancing_weights(
    prior: Num[np.ndarray, "313"], lambda_: float = 0.5, sigma: float = 5.0
) -> Float32[np.ndarray, "313"]:
    """Returns every bin's weight w = 1 / ((1 - lambda) P + lambda / Q), scaled to sum P w = 1 (eq. 12).

    P is the smoothed prior, Q = 313.

    Args:
      prior: how often each bin occurs in the training set, as counts or as probabilities.
      lambda_: in 0..1, how much of the uniform distribution is mixed in; 1 makes all weights 1.
      sigma: of the smoothing, in CIE units.

    Raises:
      UserError: if an argument is out of its range, or lambda is 0 and a bin has no probability even when
        smoothed.
    """
    if not 0 <= lambda_ <= 1:
        raise UserError(f"The lambda of the rebalancing is {lambda_}, but must lie in 0..1.")
    smooth = smooth_prior(prior, sigma)
    mixed = (1 - lambda_) * smooth + lambda_ / NUM_BINS
    if np.min(mixed) < np.finfo(np.float32).tiny:
        raise UserError("The colour prior has empty bins, so the rebalancing's lambda must be above 0.")
    weights = 1 / mixed
    return (weights / np.sum(smooth * weights)).astype(np.float32)


def smooth_prior(prior: Num[np.ndarray, "313"], sigma: float = 5.0) -> Float[np.ndarray, "313"]:
    """Smooths the prior by a Gaussian in the ab plane, among the bins (eq. 11).

    A plain Gaussian would lose the mass that crosses the hull of the bins. Rescaling it per source bin keeps
    the mass, but drains the hull; rescaling it per target bin does not keep the mass. Here the kernel is
    scaled symmetrically, D G D, until rows and columns both sum to 1 (Sinkhorn): each bin gives away exactly
    its mass, and a uniform prior stays uniform up to the hull.

    Args:
      prior: counts or probabilities.
      sigma: of the Gaussian, in CIE units.

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
    smooth = _doubly_stochastic(_gaussian_between_bins(sigma)) @ (prior / np.sum(prior))
    return smooth / np.sum(smooth)


def _gaussian_between_bins(sigma: float) -> np.ndarray:
    bins = AB_BINS.astype(np.float64)
    squared_distance = np.sum((bins[:, None] - bins[None, :]) ** 2, axis=-1)
    return np.exp(-squared_distance / (2 * sigma**2))


def _doubly_stochastic(kernel: np.ndarray) -> np.ndarray:
    """Scales a symmetric positive kernel to D K D, rows and columns of which sum to 1."""
    scale = np.ones(len(kernel))
    for _ in range(1000):
        sums = scale * (kernel @ scale)
        if np.max(np.abs(sums - 1)) < 1e-12:
            break
        scale = scale / np.sqrt(sums)
    return scale[:, None] * kernel * scale
