"""The result of `load().colorize(photo)`: the coloured photo and the network's other predictions."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from semcolor_jax.color.bins import AB_BINS
from semcolor_jax.errors import UserError
from semcolor_jax.inference.flat import Coloured
from semcolor_jax.inference.hints import Hint, HintLike, hints_of, paint
from semcolor_jax.inference.probability import CONFIDENCE_RADIUS, probability_near
from semcolor_jax.inference.variants import make_variants
from semcolor_jax.photos.encoding import QUALITY, write_photos
from semcolor_jax.photos.formats import format_of_suffix
from semcolor_jax.photos.photo import Photo
from semcolor_jax.taxonomy.label_sets import COCO_STUFF


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """The COCO-Stuff class of each place.

    Attributes:
      classes: ids 0..182, in the network's size.
    """

    classes: UInt8[np.ndarray, "h w"]

    @property
    def names(self) -> dict[str, float]:
        """The classes present by name, with their shares of the picture, largest first."""
        counts = np.bincount(self.classes.ravel(), minlength=len(COCO_STUFF))
        order = np.argsort(-counts, kind="stable")
        return {COCO_STUFF[index]: float(counts[index] / self.classes.size) for index in order if counts[index]}


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The network's probability of each of the 313 colours at one place.

    Attributes:
      ab: centres of the bins, CIE units.
      probabilities: their softmax; sum 1.
    """

    ab: Float32[np.ndarray, "313 2"]
    probabilities: Float32[np.ndarray, " 313"]


@dataclasses.dataclass(frozen=True)
class Result:
    """A coloured photo.

    Attributes:
      photo: the result, with the metadata to save.
      ab: the network's colours, CIE units, in the network's size (over its output stride).
      scenes: the five likeliest Places365 categories with their probabilities; None without a scene branch.
      segmentation: None without a segmentation branch.
      predict_logits: returns the network's logits of the 313 colours; called at most once.
      coloured: the part of the photo that has colour; None is all of it.
      hints: the user's; the result follows them, `ab` does not.
    """

    photo: Photo
    ab: Float32[np.ndarray, "h w 2"]
    scenes: Sequence[tuple[str, float]] | None
    segmentation: Segmentation | None
    predict_logits: Callable[[], Float32[np.ndarray, "h w 313"] | None] = dataclasses.field(repr=False)
    coloured: Coloured | None = None
    hints: tuple[Hint, ...] = ()

    @functools.cached_property
    def image(self) -> Image.Image:
        """The result as an 8-bit Pillow image, RGB or RGBA, upright."""
        image = Image.fromarray(_eight_bits(self.photo.pixels))
        if self.photo.alpha is not None:
            image.putalpha(Image.fromarray(_eight_bits(self.photo.alpha)))
        return image

    def distribution(self, x: int, y: int) -> Distribution:
        """Returns the network's colour distribution at a pixel of the photo: column x, row y.

        The first call runs the network once more, since colouring keeps no logits.

        Raises:
          UserError: the pixel lies outside the photo, or the network has no such branch.
        """
        self._check_inside(x, y)
        if self._logits is None:
            raise UserError("The network has no branch 'soft', so it holds no distribution of colours.")
        return Distribution(ab=AB_BINS, probabilities=_softmax(self._at(self._logits, x, y)))

    def color_at(self, x: int, y: int) -> Float32[np.ndarray, " 2"]:
        """Returns the network's colour at a pixel of the photo, a and b: column x, row y.

        Raises:
          UserError: the pixel lies outside the photo.
        """
        self._check_inside(x, y)
        return self._at(self.ab, x, y)

    def confidence(self, *, radius: float = CONFIDENCE_RADIUS) -> Float32[np.ndarray, "h w"] | None:
        """Returns the network's probability that the true colour lies near the result's, at each place.

        It is the probability of all bins within `radius` (CIE units) of `ab`, in 0..1 and in the network's size; None
        without a branch 'soft'. Runs the network as `distribution` does.
        """
        if self._logits is None:
            return None
        return np.asarray(probability_near(self._logits, self._ab_of_logits[None], radius)[0])

    def variants(self, count: int) -> list[Result]:
        """Returns the result and count - 1 other plausible ones, likeliest first (`inference.variants.make_variants`).

        All have the result's lightness. Where the network is certain, they hardly differ.

        Raises:
          UserError: the count is outside 1..12, or the network has no branch 'soft'.
        """
        if self._logits is None:
            raise UserError("The network has no branch 'soft', so it holds no other colours possible.")
        variants = make_variants(self._logits, self._ab_of_logits, count=count)
        return [self._painted(ab, self.hints) for ab, _ in variants]

    def with_hints(self, hints: Sequence[HintLike]) -> Result:
        """Returns the result coloured by these hints, which replace earlier ones.

        The network does not run again. Hints are in pixels of the photo: (x, y, "#a03020"), `inference.hints.Hint`, or
        mappings as in the JSON file of `semcolor colorize --hints` (docs/hints.md).

        Raises:
          UserError: a hint is wrong, or lies outside the photo.
        """
        return self._painted(self.ab, tuple(hints_of(hints)))

    def _painted(self, ab: Float32[np.ndarray, "h w 2"], hints: tuple[Hint, ...]) -> Result:
        pixels = paint(self.photo.pixels, ab, hints, coloured=self.coloured)
        return dataclasses.replace(
            self,
            photo=dataclasses.replace(self.photo, pixels=pixels),
            ab=ab,
            predict_logits=lambda: self._logits,
            hints=hints,
        )

    def save(self, path: str | os.PathLike[str], *, quality: int = QUALITY) -> list[str]:
        """Writes the result in the format that the suffix names, with the photo's metadata and an sRGB profile.

        Returns:
          what the format cannot hold, each a clause.

        Raises:
          UserError: the suffix is unknown, or the file cannot be written.
        """
        format = format_of_suffix(Path(path).suffix)
        if format is None:
            raise UserError(f"cannot write {path}: its suffix names no format that can be written.")
        return write_photos(path, [self.photo], format=format, quality=quality)

    def _check_inside(self, x: int, y: int) -> None:
        height, width = self.photo.pixels.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(f"The pixel ({x}, {y}) lies outside the photo, which is {width} x {height} pixels.")

    def _at(self, planes: Float32[np.ndarray, "h w c"], x: int, y: int) -> Float32[np.ndarray, " c"]:
        """Returns the value of small planes at a pixel of the photo."""
        height, width = self.photo.pixels.shape[:2]
        return planes[y * planes.shape[0] // height, x * planes.shape[1] // width]

    @property
    def _ab_of_logits(self) -> Float32[np.ndarray, "h w 2"]:
        """The colours at the logits' size, which is smaller in networks that enlarge colours after decoding."""
        assert self._logits is not None
        rows, columns = (
            (2 * np.arange(n) + 1) * m // (2 * n)
            for n, m in zip(self._logits.shape[:2], self.ab.shape[:2], strict=True)
        )
        return self.ab[rows[:, None], columns]

    @functools.cached_property
    def _logits(self) -> Float32[np.ndarray, "h w 313"] | None:
        return self.predict_logits()


def _softmax(logits: Float32[np.ndarray, "*n 313"]) -> Float32[np.ndarray, "*n 313"]:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
