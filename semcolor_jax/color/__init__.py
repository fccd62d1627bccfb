"""Colour science for colorization: CIE Lab, the 313 colour bins, soft-encoding and decoding, rebalancing weights.

Units everywhere: L in 0..100, a and b in CIE units.
"""

from semcolor_jax.color.bins import AB_BINS, BIN_TABLE_ID, NUM_BINS
from semcolor_jax.color.decoding import annealed_mean, mode
from semcolor_jax.color.encoding import SoftCode, SoftPlanes, nearest_bin, soft_encode, soft_encode_planes
from semcolor_jax.color.gamut import fit_to_gamut, in_gamut
from semcolor_jax.color.lab import lab_to_rgb, rgb_to_lab
from semcolor_jax.color.rebalancing import rebalancing_weights, smooth_prior

__all__ = [
    "AB_BINS",
    "BIN_TABLE_ID",
    "NUM_BINS",
    "SoftCode",
    "SoftPlanes",
    "annealed_mean",
    "fit_to_gamut",
    "in_gamut",
    "lab_to_rgb",
    "mode",
    "nearest_bin",
    "rebalancing_weights",
    "rgb_to_lab",
    "smooth_prior",
    "soft_encode",
    "soft_encode_planes",
]
