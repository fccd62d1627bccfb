"""Keeps the network's outputs for one photo, so that its colours can be mixed again without another run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float16, Float32, UInt8

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.color.bins import AB_BINS
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import BRANCHES, ColorChoice, branch_colors, segment
from semcolor_jax.inference.colorize import Colorizer, shrink, top_scenes
from semcolor_jax.inference.network import read_all
from semcolor_jax.inference.result import Distribution
from semcolor_jax.inference.strips import Pixels
from semcolor_jax.inference.variants import check_count, make_variants
from semcolor_jax.models import Predictions, Predictor, SemColorNet
from semcolor_jax.models.semcolor import Enlargement


@dataclasses.dataclass(frozen=True)
class Look:
    """The network's outputs for one photo. All planes are small: the network's size over its output stride.

    Attributes:
      ab: the regression's colours, CIE units; None without that branch.
      logits: of the 313 colours, shifted so that each place's maximum is 0; half precision, which is finest where it
            matters, near the maximum; None without that branch.
      classes: COCO-Stuff ids; None without that branch.
      scenes: the five likeliest Places365 categories with their probabilities; None without that branch.
      enlargement: for colours decoded from the logits; None if these have the size of the other planes.
    """

    ab: Float32[np.ndarray, "h w 2"] | None
    logits: Float16[np.ndarray, "h w 313"] | None
    classes: UInt8[np.ndarray, "h w"] | None
    scenes: Sequence[tuple[str, float]] | None
    enlargement: Enlargement | None = None

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches that give colour: "reg", "soft", or both."""
        there = {"reg": self.ab is not None, "soft": self.logits is not None}
        return tuple(branch for branch in BRANCHES if there[branch])

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(plane.nbytes for plane in (self.ab, self.logits, self.classes) if plane is not None)

    def colors(self, temperature: float) -> dict[str, Float32[np.ndarray, "h w 2"]]:
        """Returns the ab of each of `branches`, CIE units. Raises `UserError` if the temperature is out of range."""
        ab, logits = (None if plane is None else jnp.asarray(plane[None]) for plane in (self.ab, self.logits))
        predictions = Predictions(ab=ab, color_logits=logits, enlargement=self.enlargement)
        return {branch: planes[0] for branch, planes in branch_colors(predictions, temperature=temperature).items()}

    def mix(self, choice: ColorChoice) -> Float32[np.ndarray, "h w 2"]:
        """Returns the final ab, CIE units, as `Colorizer.colors` does.

        Raises:
          UserError: the network lacks a branch that the choice needs.
        """
        for branch in choice.needs:
            if branch not in self.branches:
                raise UserError(f"The network has no branch {branch!r}; it has: {', '.join(self.branches)}.")
        return np.asarray(choice.apply(self.colors(choice.temperature)), np.float32)

    def shifts(self, choice: ColorChoice, *, count: int) -> Float32[np.ndarray, "n h w 2"]:
        """Returns shifts which, added to `mix(choice)`, give other plausible colourings (`inference.variants`).

        The likeliest comes first. There are fewer than `count`: the first of `make_variants`, a shift of 0, is left
        out, and without distributions there are none.

        Raises:
          UserError: the count is outside 1..12, or the network lacks a branch that the choice needs.
        """
        check_count(count)
        usual = self.mix(choice)
        if self.logits is None or self.enlargement is not None:
            return np.zeros((0, *usual.shape), np.float32)
        variants = make_variants(np.asarray(self.logits, np.float32), usual, count=count)
        shifts = [variant.ab - usual for variant in variants]
        return np.stack([shift for shift in shifts if shift.any()] or [np.zeros_like(usual)])[: count - 1]

    def distribution(self, x: float, y: float) -> Distribution:
        """Returns the network's colour distribution at a place, given as fractions 0..1 of width and height.

        Raises:
          UserError: the place is outside the photo, or the network has no branch 'soft'.
        """
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise UserError(f"The place ({x:g}, {y:g}) lies outside the photo: both must lie in 0..1.")
        if self.logits is None:
            raise UserError("The network has no branch 'soft', so it holds no distribution of colours.")
        rows, columns = self.logits.shape[:2]
        row, column = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
        weights = np.exp(self.logits[row, column].astype(np.float32))
        return Distribution(ab=AB_BINS, probabilities=weights / weights.sum())


def look(colorizer: Colorizer, photo: Pixels) -> Look:
    """Runs the network once, as the colorizer would for this photo.

    `Colorizer.mirror` is ignored.
    """
    lightness = rgb_to_lab(shrink(photo, side=colorizer.side), xp=np)[None, ..., :1]
    predictor, enlargement = colorizer.predictor, None
    if isinstance(predictor, Predictor) and isinstance(predictor.model, SemColorNet):
        ab, logits, classes, scene_logits = read_all(predictor.model, predictor.variables, lightness)
    else:
        predictions = predictor(lightness)
        ab, logits, scene_logits = predictions.ab, predictions.color_logits, predictions.scene_logits
        classes, enlargement = segment(predictions), predictions.enlargement
    return Look(
        ab=None if ab is None else np.asarray(ab[0], np.float32),
        logits=None if logits is None else _halved(np.asarray(logits[0], np.float32)),
        classes=None if classes is None else np.asarray(classes[0]),
        scenes=None if scene_logits is None else top_scenes(np.asarray(scene_logits[0])),
        enlargement=enlargement,
    )


def _halved(logits: Float32[np.ndarray, "h w 313"]) -> Float16[np.ndarray, "h w 313"]:
    lowest = np.finfo(np.float16).min
    return np.maximum(logits - logits.max(axis=-1, keepdims=True), lowest).astype(np.float16)
