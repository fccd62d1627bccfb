"""Colours photos at full resolution: the network gives small ab planes, the photo keeps its lightness."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import BRANCHES, ColorChoice, Predict, branch_colors, segment
from semcolor_jax.inference.flat import coloured_part
from semcolor_jax.inference.hints import HintLike, check_hints, hints_of, paint
from semcolor_jax.inference.network import Readout, read_out
from semcolor_jax.inference.result import Result, Segmentation
from semcolor_jax.inference.strips import Pixels, merge
from semcolor_jax.models import Predictor, SemColorNet
from semcolor_jax.photos.sources import PhotoLike, photo_of
from semcolor_jax.taxonomy.label_sets import PLACES365

MAX_ASPECT = 4
"""The network's long side is at most this many times `side`, so that panoramas fit into memory."""

_GRID = 32  # sides that the network sees are multiples of it
_TOP_SCENES = 5


@dataclasses.dataclass(frozen=True)
class Colorized:
    """A coloured photo, and what the network saw in it.

    `rgb` has the photo's size; `ab` (CIE units) and `segmentation` (COCO-Stuff classes) have the size at
    which the network ran, over its output stride. `scenes` holds the five likeliest Places365 categories with
    their probabilities. `segmentation` and `scenes` are None where the network has no such branch.
    """

    rgb: Pixels
    ab: Float32[np.ndarray, "h w 2"]
    scenes: Sequence[tuple[str, float]] | None
    segmentation: UInt8[np.ndarray, "h w"] | None


@dataclasses.dataclass(frozen=True)
class Colorizer:
    """Colours photos of any size; the result has the size of the input.

    Attributes:
      predictor: lightness to predictions.
      side: the network sees photos shrunk to this short side, in pixels; smaller ones are not enlarged.
      choice: how the colour branches make the final colour.
      mirror: average with the colours of the mirrored photo: twice the time, somewhat steadier colours.
    """

    predictor: Predict
    _: dataclasses.KW_ONLY
    side: int = 256
    choice: ColorChoice = dataclasses.field(default_factory=ColorChoice)
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UserError(f"The side is {self.side} pixels, but must be at least 1.")

    def __call__(self, photo: Pixels) -> Colorized:
        """Returns the photo with its own lightness and the network's colours.

        Raises:
          UserError: the network lacks the branch.
        """
        output = self._read_out([photo])
        ab = np.asarray(output.ab[0], np.float32)
        return Colorized(
            rgb=merge(photo, ab),
            ab=ab,
            scenes=None if output.scene_logits is None else top_scenes(np.asarray(output.scene_logits[0])),
            segmentation=None if output.classes is None else np.asarray(output.classes[0]),
        )

    def colorize(
        self,
        photo: PhotoLike,
        *,
        branch: str | None = None,
        temperature: float | None = None,
        soft_weight: float | None = None,
        saturation: float | None = None,
        hints: Sequence[HintLike] = (),
    ) -> Result:
        """Colours a photo as the command does: through its profile, blank borders left grey, metadata kept.

        Args:
          photo: a path, a Pillow image, or an array (`photos.sources.photo_of`).
          branch: "soft", "reg" or "both"; this and the next three default to `choice`.
          temperature: the annealed mean's, in (0, 1].
          soft_weight: weight of the annealed mean in "both", 0..1.
          saturation: factor on the chroma.
          hints: colours that the user knows, in the form of `Result.with_hints`.

        Raises:
          UserError: the photo cannot be read, a setting is out of range, a hint is wrong or outside the photo, or the
            network lacks the branch.
        """
        asked = {"branch": branch, "temperature": temperature, "share": soft_weight, "saturation": saturation}
        choice = dataclasses.replace(self.choice, **{key: value for key, value in asked.items() if value is not None})
        source, known = photo_of(photo), tuple(hints_of(hints))
        check_hints(known, height=source.pixels.shape[0], width=source.pixels.shape[1])
        output = dataclasses.replace(self, choice=choice)._read_out([source.pixels])
        ab = np.asarray(output.ab[0], np.float32)
        lightness = rgb_to_lab(shrink(source.pixels, side=self.side), xp=np)[None, ..., :1]
        part = coloured_part(source.pixels)
        coloured = paint(source.pixels, ab, known, coloured=part, in_place=True)
        return Result(
            photo=dataclasses.replace(source, pixels=coloured),
            ab=ab,
            scenes=None if output.scene_logits is None else top_scenes(np.asarray(output.scene_logits[0])),
            segmentation=None if output.classes is None else Segmentation(np.asarray(output.classes[0])),
            predict_logits=functools.partial(_color_logits, self.predictor, lightness),
            coloured=part,
            hints=known,
        )

    def network_size(self, photo: Pixels) -> tuple[int, int]:
        """Returns the height and width in pixels at which the network sees the photo."""
        return network_size(photo.shape[0], photo.shape[1], side=self.side)

    def colors(self, photos: Sequence[Pixels]) -> Float32[np.ndarray, "photos h w 2"]:
        """Returns only the network's colours, the `ab` of each photo, in one batch; all have the same `network_size`.

        Raises:
          UserError: the network lacks the branch.
        """
        return np.asarray(self._read_out(photos, colors_only=True).ab, np.float32)

    def _read_out(self, photos: Sequence[Pixels], *, colors_only: bool = False) -> Readout:
        lightness = np.stack([rgb_to_lab(shrink(photo, side=self.side), xp=np)[..., :1] for photo in photos])
        output = self._look(lightness, colors_only=colors_only)
        if not self.mirror:
            return output
        mirrored = self._look(lightness[:, :, ::-1], colors_only=True)
        return output._replace(ab=(output.ab + mirrored.ab[:, :, ::-1]) / 2)

    def _look(self, lightness: Float32[np.ndarray, "B h w 1"], *, colors_only: bool) -> Readout:
        if isinstance(self.predictor, Predictor) and isinstance(self.predictor.model, SemColorNet):
            model = self.predictor.model
            self._check_branch([branch for branch in BRANCHES if branch in model.branches])
            return read_out(model, self.predictor.variables, lightness, choice=self.choice, colors_only=colors_only)
        predictions = self.predictor(lightness)
        colors = branch_colors(predictions, temperature=self.choice.temperature)
        self._check_branch(list(colors))
        return Readout(jnp.asarray(self.choice.apply(colors)), segment(predictions), predictions.scene_logits)  # type: ignore[arg-type]

    def _check_branch(self, present: Sequence[str]) -> None:
        for branch in self.choice.needs:
            if branch not in present:
                raise UserError(f"The network has no branch {branch!r}; it has: {', '.join(present) or 'none'}.")


def _color_logits(
    predictor: Predict, lightness: Float32[np.ndarray, "1 h w 1"]
) -> Float32[np.ndarray, "H W 313"] | None:
    logits = predictor(lightness).color_logits
    return None if logits is None else np.asarray(logits[0], np.float32)


def top_scenes(logits: Float[np.ndarray, " scenes"]) -> list[tuple[str, float]]:
    """Returns the five likeliest Places365 categories and their probabilities, likeliest first."""
    weights = np.exp(logits - np.max(logits))  # in numpy: no program to compile
    probabilities = weights / weights.sum()
    best = np.argsort(-probabilities, kind="stable")[:_TOP_SCENES]
    return [(PLACES365[index], float(probabilities[index])) for index in best]


def shrink(photo: Pixels, *, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the photo as the network sees it: 8 bits, and shrunk as in training (in pixels, not Lab)."""
    if photo.dtype == np.uint16:
        photo = (photo >> 8).astype(np.uint8)
    height, width = network_size(*photo.shape[:2], side=side)
    if (height, width) == photo.shape[:2]:
        return photo
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))


def network_size(height: int, width: int, *, side: int) -> tuple[int, int]:
    """Returns the height and width at which a network of that `side` sees a photo."""
    scale = min(1.0, side / min(height, width), MAX_ASPECT * side / max(height, width))
    return _network_side(height, scale), _network_side(width, scale)


def _network_side(side: int, scale: float) -> int:
    """Returns side times scale, rounded to a multiple of 32 above 64.

    So photos of many sizes and aspect ratios share few compiled programs. The picture is stretched by a few per cent,
    as in training, and needs no padding; ab is stretched back.
    """
    scaled = max(1, round(side * scale))
    if scaled <= 2 * _GRID:
        return scaled
    return min(round(scaled / _GRID), side // _GRID) * _GRID
