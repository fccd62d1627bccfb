"""Picks the final colours from the network's outputs and recombines them with the photo's lightness."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from semcolor_jax.color import annealed_mean
from semcolor_jax.color.decoding import check_temperature
from semcolor_jax.color.gamut import ray_of_lab, srgb8
from semcolor_jax.errors import UserError
from semcolor_jax.models import Predictions
from semcolor_jax.models.layers import enlarge
from semcolor_jax.models.semcolor import Enlargement

Predict = Callable[[np.ndarray], Predictions]
"""Maps lightness (B, H, W, 1), 0..100, to predictions of the same height and width, as `models.Predictor` does."""

BRANCHES = ("reg", "soft")
"""The branches that give colour: the network's ab, and the annealed mean of its distributions."""


CHOICES = (*BRANCHES, "both")
"""The branches, or mixture, that can give the final colour."""


@dataclasses.dataclass(frozen=True)
class ColorChoice:
    """How the final colour is made from the colour branches.

    Attributes:
      branch: "soft" (annealed mean), "reg" (regression), or "both": (1 - share) * regression + share * annealed mean.
      temperature: the annealed mean's (eq. 14), in (0, 1]; lower is more vivid.
      share: weight of the annealed mean in "both", 0..1.
      saturation: factor on the chroma, above 0; 1 leaves it as it is.
    """

    branch: str = "soft"
    _: dataclasses.KW_ONLY
    temperature: float = 0.38
    share: float = 0.5
    saturation: float = 1.0

    def __post_init__(self) -> None:
        if self.branch not in CHOICES:
            raise UserError(f"The branch {self.branch!r} gives no colour; choose one of: {', '.join(CHOICES)}.")
        check_temperature(self.temperature)
        if not 0 <= self.share <= 1:
            raise UserError(f"The share of the annealed mean is {self.share}, but must lie in 0..1.")
        if not 0 < self.saturation < math.inf:
            raise UserError(f"The saturation is {self.saturation}, but must be above 0.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The branches that the network must have."""
        return BRANCHES if self.branch == "both" else (self.branch,)

    def apply(self, colors: Mapping[str, Any]) -> Any:
        """Returns the final ab, any shape, from that of the branches it `needs`."""
        return mixed(colors, self.branch, share=self.share, saturation=self.saturation)


def mixed(colors: Mapping[str, Any], branch: str, *, share: Any, saturation: Any) -> Any:
    """Returns the final ab of a `ColorChoice` with these numbers, which may be traced."""
    if branch == "both":
        return saturation * ((1 - share) * colors["reg"] + share * colors["soft"])
    return saturation * colors[branch]


def branch_titles(ab_title: str) -> dict[str, str]:
    """Returns the titles that reports give the branches of a network with this `Predictions.ab_title`."""
    return {"reg": ab_title, "soft": "annealed mean"}


def branch_colors(predictions: Predictions, *, temperature: float) -> dict[str, Float[np.ndarray, "b h w 2"]]:
    """Returns the ab of each colour branch that the network has: "reg" as it is, "soft" by the annealed mean.

    A network with lower-resolution output is decoded there, and the colours are upsampled bilinearly to the image.

    Raises:
      UserError: the temperature (eq. 14) is outside (0, 1].
    """
    check_temperature(temperature)
    colors = {}
    if predictions.ab is not None:
        colors["reg"] = np.asarray(predictions.ab, np.float32)
    if predictions.color_logits is not None:
        colors["soft"] = np.asarray(
            _annealed_mean(predictions.color_logits, temperature, enlargement=predictions.enlargement)
        )
    return colors


def segment(predictions: Predictions) -> UInt8[np.ndarray, "b h w"] | None:
    """Returns the most probable class of every pixel, or None without a segmentation branch."""
    if predictions.seg_logits is None:
        return None
    return np.asarray(jnp.argmax(predictions.seg_logits, axis=-1), np.uint8)


def recombine(lightness: Float[np.ndarray, "h w 1"], ab: Float[np.ndarray, "h w 2"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the sRGB image of this lightness; a colour outside the gamut loses chroma, not lightness."""
    count = lightness.size
    # The number of pixels is rounded up to a power of two, so that few programs are compiled.
    planes = np.zeros((3, 1 << max(10, (count - 1).bit_length())), np.float32)
    planes[0, :count] = lightness.reshape(-1)
    planes[1:, :count] = ab.reshape(-1, 2).T
    rgb = np.stack([np.asarray(plane)[:count] for plane in _to_rgb(planes)], axis=-1)
    return rgb.reshape(*lightness.shape[:2], 3)


def grey_copy(lightness: Float[np.ndarray, "h w 1"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the photo without colour (ab = 0), the baseline of every similarity score."""
    return recombine(lightness, np.zeros((*lightness.shape[:2], 2), np.float32))


@functools.partial(jax.jit, static_argnames=("enlargement",))
def _annealed_mean(
    logits: Float[Array, "b h w 313"], temperature: float, *, enlargement: Enlargement | None
) -> Float[Array, "b H W 2"]:
    ab = annealed_mean(logits, temperature=temperature)
    if enlargement is None:
        return ab
    return enlarge(ab, enlargement.factor)[:, : enlargement.height, : enlargement.width]


@jax.jit
def _to_rgb(planes: Float[Array, "3 n"]) -> tuple[UInt8[Array, " n"], UInt8[Array, " n"], UInt8[Array, " n"]]:
    return srgb8(ray_of_lab(planes[0], planes[1], planes[2]))
