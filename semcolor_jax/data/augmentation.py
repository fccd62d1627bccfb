"""Augments training photos in JAX, on the device; the counterpart of `data.augment` and `data.warp` in tf.data.

For the same uniform draws both give the same picture, up to one grey level (tests/data/test_augmentation.py checks it).
The draws themselves differ: here those of place i come from `jax.random`, folded in from (seed, i). A photo and its
label map travel as one uint32 a pixel, red, green, blue and label from the lowest byte up: one look-up moves both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8, UInt32
from ml_collections import ConfigDict

from semcolor_jax.taxonomy.label_sets import IGNORE_LABEL

_STREAM = 1  # keeps these keys apart from those of the network's dropout

Lookup: TypeAlias = Callable[[Int[Array, "h w"], Int[Array, "h w"]], UInt32[Array, "h w"]]
"""(row, column) -> packed pixels of one photo."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The fields of `config.augment` that move pixels or change their tone; `data.augment` has the units."""

    rotate: float = 0.0
    scale: float = 0.0
    translate: float = 0.0
    flip: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0

    @classmethod
    def of(cls, config: ConfigDict) -> Options:
        """Returns the options that `config.augment` holds."""
        return cls(**{field.name: config.augment[field.name] for field in dataclasses.fields(cls)})


class Draws(NamedTuple):
    """The random numbers of one place in the stream, uniform in 0..1."""

    geometry: Float[Array, " 7"]  # angle, factor, shift down, shift right, place down, place right, mirroring
    tone: Float[Array, " 2"]  # contrast, brightness


class Crop(NamedTuple):
    """A square of a photo."""

    image: UInt8[Array, "s s 3"]
    labels: UInt8[Array, "s s"]


def place_keys(seed: int, places: UInt32[Array, " b"]) -> Key[Array, " b"]:
    """Returns one key for each place of the training stream, a function of (seed, place) alone."""
    key = jax.random.fold_in(jax.random.key(seed), _STREAM)
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(places)


def draw(key: Key[Array, ""]) -> Draws:
    """Returns the draws of a place from its key."""
    uniform = jax.random.uniform(key, (9,))
    return Draws(geometry=uniform[:7], tone=uniform[7:])


def augment(
    lookup: Lookup, size: Int[Array, " 2"], draws: Draws, *, side: int, short_side: int, options: Options
) -> Crop:
    """Resizes, rotates, scales, shifts, crops and mirrors a square, then changes its contrast and brightness.

    Args:
      lookup: the photo's packed pixels.
      size: the photo's height and width; shrinking by more than `data.augment.ALIASING` would alias.
      draws: the place's.
      side: the square's, at most `short_side`.
      short_side: of the resized photo from which the square is cropped.
      options: how far the draws reach.
    """
    to_input = input_matrix(size, draws.geometry, side=side, short_side=short_side, options=options)
    crop = warp(lookup, size, to_input, side=side)
    signed = 2 * draws.tone - 1
    image = tone(crop.image, factor=1 + signed[0] * options.contrast, shift=255 * options.brightness * signed[1])
    return Crop(image, crop.labels)


def input_matrix(
    size: Int[Array, " 2"], geometry: Float[Array, " 7"], *, side: int, short_side: int, options: Options
) -> Float[Array, "2 3"]:
    """Returns the matrix that takes pixel (x, y, 1) of the square to its place in the photo; as in `data.augment`."""
    signed = 2 * geometry - 1
    angle, factor = jnp.deg2rad(signed[0] * options.rotate), 1 + signed[1] * options.scale
    given = size.astype(jnp.float32)
    resized = jnp.round(given * (short_side / jnp.min(given)))
    ratio, center = given / resized, (resized - 1) / 2
    # (y, x), for (0, 0) of the square, relative to the photo's centre of rotation
    corner = jnp.floor(geometry[4:6] * (resized - side + 1)) - center - signed[2:4] * options.translate * resized
    mirrored = geometry[6] < options.flip
    step = jnp.where(mirrored, -1.0, 1.0)
    from_y, from_x = corner[0], corner[1] + jnp.where(mirrored, side - 1.0, 0.0)
    cos, sin = jnp.cos(angle) / factor, jnp.sin(angle) / factor
    lines = jnp.array(
        [
            [cos * step, sin, cos * from_x + sin * from_y + center[1] + 0.5],
            [-sin * step, cos, cos * from_y - sin * from_x + center[0] + 0.5],
        ]
    )
    return lines * ratio[::-1, None] - jnp.array([[0, 0, 0.5], [0, 0, 0.5]])


def warp(lookup: Lookup, size: Int[Array, " 2"], to_input: Float[Array, "2 3"], *, side: int) -> Crop:
    """Looks up each pixel of a square, bilinear in the photo, nearest in the labels; reflects what lies outside."""
    grid = jnp.arange(side, dtype=jnp.float32)
    column, row = (
        _reflect(line[0] * grid[None, :] + line[1] * grid[:, None] + line[2], length=length)
        for line, length in zip(to_input, size[::-1], strict=True)
    )
    top, left = jnp.floor(row).astype(jnp.int32), jnp.floor(column).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, size[0] - 1), jnp.minimum(left + 1, size[1] - 1)
    down, across = (row - jnp.floor(row))[..., None], (column - jnp.floor(column))[..., None]
    corners = [lookup(y, x) for y, x in ((top, left), (top, right), (bottom, left), (bottom, right))]
    upper = _mix(_rgb(corners[0]), _rgb(corners[1]), across)
    lower = _mix(_rgb(corners[2]), _rgb(corners[3]), across)
    # The nearest pixel is one of the four. Halves go to the even pixel, as they do in tf.data.
    below, beside = jnp.round(row).astype(jnp.int32) > top, jnp.round(column).astype(jnp.int32) > left
    nearest = jnp.where(below, jnp.where(beside, corners[3], corners[2]), jnp.where(beside, corners[1], corners[0]))
    return Crop(jnp.round(_mix(upper, lower, down)).astype(jnp.uint8), (nearest >> 24).astype(jnp.uint8))


def tone(image: UInt8[Array, "h w 3"], *, factor: Float[Array, ""], shift: Float[Array, ""]) -> UInt8[Array, "h w 3"]:
    """Multiplies each channel's distance from its mean by `factor`, then adds `shift` grey levels."""
    pixels = image.astype(jnp.float32)
    mean = jnp.mean(pixels, axis=(0, 1))
    return jnp.clip(jnp.round((pixels - mean) * factor + (mean + shift)), 0, 255).astype(jnp.uint8)


def add_border(crop: Crop, key: Key[Array, ""], *, chance: float, reach: float = 0.2) -> Crop:
    """Draws a flat grey border around the square, as scans of prints have; its target is zero chroma.

    Args:
      crop: the square; where the border lies, its labels become ignored.
      key: the place's.
      chance: that there is a border; its sides are drawn separately, and any of them may be missing.
      reach: largest width of a side, as a share of the square's side.
    """
    side = crop.labels.shape[0]
    uniform = jax.random.uniform(key, (6,))
    widths = jnp.maximum(0, 1.5 * uniform[:4] - 0.5) * reach * side  # a third of the sides are missing
    row, column = jnp.arange(side)[:, None], jnp.arange(side)[None, :]
    outside = (row < widths[0]) | (row >= side - widths[1]) | (column < widths[2]) | (column >= side - widths[3])
    outside &= uniform[4] < chance
    grey = jnp.floor(256 * uniform[5]).astype(jnp.uint8)
    return Crop(jnp.where(outside[..., None], grey, crop.image), jnp.where(outside, IGNORE_LABEL, crop.labels))


def pack(image: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"]) -> UInt32[np.ndarray, "h w"]:
    """Returns photo and labels as one number a pixel."""
    red, green, blue = np.moveaxis(image.astype(np.uint32), -1, 0)
    return red | green << 8 | blue << 16 | labels.astype(np.uint32) << 24


def _rgb(pixel: UInt32[Array, "h w"]) -> Float[Array, "h w 3"]:
    return jnp.stack([(pixel >> shift & 255).astype(jnp.float32) for shift in (0, 8, 16)], axis=-1)


def _mix(first: Array, second: Array, share: Array) -> Array:
    return first + share * (second - first)


def _reflect(place: Array, *, length: Array) -> Array:
    """Moves places on an endless line into 0..length - 1, as reflection at -1/2 and length - 1/2 does."""
    count = length.astype(jnp.float32)
    phase = jnp.mod(place + 0.5, 2 * count)
    return jnp.clip(jnp.minimum(phase, 2 * count - phase) - 0.5, 0, count - 1)
