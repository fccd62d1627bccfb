"""Preprocesses and augments training photos in tf.data, with small ops that compose.

An op maps (example, seed) to an example, eagerly or inside tf.data. All randomness comes from the seed
through stateless ops, so the same seed gives the same picture. Geometry moves photo and labels alike; the
scene stays. Each kind of randomness is one op: the photo is resampled once and rounded twice, however many
augmentations are on (docs/performance.md has the figures).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from ml_collections import ConfigDict

from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.example import Example
from semcolor_jax.data.scene_smoothing import scene_smoothing
from semcolor_jax.data.warp import warp
from semcolor_jax.errors import UserError

Op: TypeAlias = Callable[[Example, tf.Tensor], Example]
"""(example, seed of two integers) -> example."""

ALIASING = 1.5
"""Photos that must shrink by more than this are shrunk with antialiasing first; the warp reads only 2 x 2 pixels."""


def training_ops(config: ConfigDict) -> Op:
    """Returns the training preprocessing: geometry, tone, scene smoothing.

    Raises:
      UserError: if the crop is larger than the resized photo's short side.
    """
    augment = config.augment
    return chain(
        random_geometry(
            config.data.image_size,
            short_side=_short_side(config),
            rotate=augment.rotate,
            scale=augment.scale,
            translate=augment.translate,
            flip=augment.flip,
        ),
        random_tone(contrast=augment.contrast, brightness=augment.brightness),
        scene_smoothing(config.data.scene_smoothing),
    )


def chain(*ops: Op) -> Op:
    """Applies ops in order; each gets its own seed, split from the chain's."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        for op, own_seed in zip(ops, tf.unstack(tf.random.split(seed, len(ops))), strict=True):
            example = op(example, own_seed)
        return example

    return apply


def resize_short(side: int) -> Op:
    """Resizes the short side to `side`: the photo bilinearly (antialiased), the labels to the nearest."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        del seed
        size = tf.cast(tf.shape(example["image"])[:2], tf.float64)
        size = tf.cast(tf.round(size * side / tf.reduce_min(size)), tf.int32)
        image = tf.image.resize(example["image"], size, method="bilinear", antialias=True)
        labels = tf.image.resize(tf.expand_dims(example["labels"], -1), size, method="nearest")
        return {**example, "image": _to_uint8(image), "labels": tf.squeeze(labels, -1)}

    return apply


def center_crop(size: int) -> Op:
    """Cuts out the size x size square in the middle."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        del seed
        return _crop(example, (tf.shape(example["labels"]) - size) // 2, size)

    return apply


def random_geometry(
    size: int,
    *,
    short_side: int,
    rotate: float = 0.0,
    scale: float = 0.0,
    translate: float = 0.0,
    flip: float = 0.0,
) -> Op:
    """Resizes, rotates, scales, shifts, crops a size x size square and mirrors it, all in one warp.

    The square's place inside the resized photo is uniform; pixels from outside the photo are reflected.

    Args:
      size: the square's, at most `short_side`.
      short_side: the resized photo's.
      rotate: largest angle, in degrees, either way, about the photo's centre.
      scale: the factor is in 1 +- this.
      translate: largest shift, as a share of the photo's side, either way.
      flip: probability of mirroring left and right.
    """
    shrink = resize_short(short_side)

    def apply(example: Example, seed: tf.Tensor) -> Example:
        too_large = _shortest(example) > ALIASING * short_side
        image, labels = tf.cond(too_large, lambda: _picture(shrink(example, seed)), lambda: _picture(example))
        draw = tf.random.stateless_uniform([7], seed)
        signed = 2 * draw - 1
        to_input = _to_input(
            tf.shape(labels),
            short_side=short_side,
            size=size,
            angle=signed[0] * rotate * math.pi / 180,
            factor=1 + signed[1] * scale,
            shift=signed[2:4] * translate,
            place=draw[4:6],
            mirrored=draw[6] < flip,
        )
        return {**example, **warp(image, labels, to_input=to_input, side=size)._asdict()}

    return apply


def random_tone(*, contrast: float = 0.0, brightness: float = 0.0) -> Op:
    """Changes contrast, then brightness. For photos of one size: XLA recompiles it for every other.

    Args:
      contrast: each channel's distance from its mean is multiplied by one factor in 1 +- this.
      brightness: one offset in +- this share of the full range is added to all channels.
    """

    def apply(example: Example, seed: tf.Tensor) -> Example:
        signed = tf.random.stateless_uniform([2], seed, minval=-1.0, maxval=1.0)
        image = _tone(example["image"], factor=1 + signed[0] * contrast, shift=255 * brightness * signed[1])
        return {**example, "image": image}

    return apply


def _short_side(config: ConfigDict) -> int:
    if config.data.short_side < config.data.image_size:
        raise UserError(
            f"config.data.image_size is {config.data.image_size}, but must not be above "
            f"config.data.short_side, which is {config.data.short_side}."
        )
    return config.data.short_side


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def _crop(example: Example, corner: tf.Tensor, size: int) -> Example:
    image = tf.slice(example["image"], [corner[0], corner[1], 0], [size, size, 3])
    return {**example, "image": image, "labels": tf.slice(example["labels"], corner, [size, size])}


def _picture(example: Example) -> tuple[tf.Tensor, tf.Tensor]:
    return example["image"], example["labels"]


def _shortest(example: Example) -> tf.Tensor:
    return tf.cast(tf.reduce_min(tf.shape(example["labels"])), tf.float32)


def _to_input(
    shape: tf.Tensor,
    *,
    short_side: int,
    size: int,
    angle: tf.Tensor,
    factor: tf.Tensor,
    shift: tf.Tensor,
    place: tf.Tensor,
    mirrored: tf.Tensor,
) -> tf.Tensor:
    """Returns the (2, 3) matrix that takes pixel (x, y, 1) of the square to its place in a photo of `shape`.

    Backwards from the square: undo mirroring and cropping, which gives the place q in the resized photo; then shift and
    rotation about the centre c, p = R(-angle) (q - c - shift) / factor + c; then resizing, (p + 1/2) * ratio - 1/2.
    """
    given = tf.cast(shape, tf.float32)
    resized = tf.round(given * (short_side / tf.reduce_min(given)))
    ratio, center = given / resized, (resized - 1) / 2
    # (y, x), for (0, 0) of the square, relative to the photo's centre of rotation
    corner = tf.floor(place * (resized - size + 1)) - center - shift * resized
    step = tf.where(mirrored, -1.0, 1.0)
    from_y, from_x = corner[0], corner[1] + tf.where(mirrored, size - 1.0, 0.0)
    cos, sin = tf.cos(angle) / factor, tf.sin(angle) / factor
    lines = tf.stack(
        [
            [cos * step, sin, cos * from_x + sin * from_y + center[1] + 0.5],
            [-sin * step, cos, cos * from_y - sin * from_x + center[0] + 0.5],
        ]
    )
    return lines * ratio[::-1, None] - [[0, 0, 0.5], [0, 0, 0.5]]


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _tone(image: tf.Tensor, *, factor: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(image, tf.float32)
    mean = tf.reduce_mean(pixels, axis=(0, 1))
    return _to_uint8((pixels - mean) * factor + (mean + shift))
