"""Preprocessing and augmentation as small ops that compose.

An op maps (example, seed) to an example, eagerly or inside tf.data. All randomness comes from the seed
through stateless ops, so the same seed gives the same picture. Geometry moves photo and labels alike; the
scene stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from ml_collections import ConfigDict

from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.example import Example
from semcolor_jax.data.scene_smoothing import scene_smoothing
from semcolor_jax.errors import UserError

Op: TypeAlias = Callable[[Example, tf.Tensor], Example]
"""(example, seed of two integers) -> example."""


def training_ops(config: ConfigDict) -> Op:
    """Returns the training preprocessing: resize, one warp, crop, flip, contrast, brightness, scene smoothing.

    Raises:
      UserError: if the crop is larger than the resized photo's short side.
    """
    augment = config.augment
    return chain(
        resize_short(_short_side(config)),
        random_affine(rotate=augment.rotate, scale=augment.scale, translate=augment.translate),
        random_crop(config.data.image_size),
        random_flip(augment.flip),
        random_contrast(augment.contrast),
        random_brightness(augment.brightness),
        scene_smoothing(config.data.scene_smoothing),
    )


def evaluation_ops(config: ConfigDict) -> Op:
    """Returns the preprocessing without chance: the photo at training scale, its centre cut out.

    Raises:
      UserError: as `training_ops`.
    """
    return chain(resize_short(_short_side(config)), center_crop(config.data.image_size))


def chain(*ops: Op) -> Op:
    """Applies ops in order, each with a seed of its own, split off the chain's."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        for op, own_seed in zip(ops, tf.unstack(tf.random.split(seed, len(ops))), strict=True):
            example = op(example, own_seed)
        return example

    return apply


def resize_short(side: int) -> Op:
    """Scales so that the short side is `side`: the photo bilinear and antialiased, the labels nearest."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        del seed
        size = tf.cast(tf.shape(example["image"])[:2], tf.float64)
        size = tf.cast(tf.round(size * side / tf.reduce_min(size)), tf.int32)
        image = tf.image.resize(example["image"], size, method="bilinear", antialias=True)
        labels = tf.image.resize(tf.expand_dims(example["labels"], -1), size, method="nearest")
        return {**example, "image": _to_uint8(image), "labels": tf.squeeze(labels, -1)}

    return apply


def random_crop(size: int) -> Op:
    """Cuts out a size x size square, every place equally likely."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        places = tf.shape(example["labels"]) - size + 1
        draw = tf.random.stateless_uniform([2], seed, dtype=tf.float64)
        return _crop(example, tf.cast(draw * tf.cast(places, tf.float64), tf.int32), size)

    return apply


def center_crop(size: int) -> Op:
    """Cuts out the size x size square in the middle."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        del seed
        return _crop(example, (tf.shape(example["labels"]) - size) // 2, size)

    return apply


def random_flip(probability: float) -> Op:
    """Mirrors left and right with the given probability."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        flip = tf.random.stateless_uniform([], seed) < probability
        return {
            **example,
            "image": tf.where(flip, tf.reverse(example["image"], [1]), example["image"]),
            "labels": tf.where(flip, tf.reverse(example["labels"], [1]), example["labels"]),
        }

    return apply


def random_affine(*, rotate: float, scale: float, translate: float) -> Op:
    """Turns, scales and shifts about the centre, in one warp; what comes in from outside is reflected.

    Args:
      rotate: largest angle, in degrees, either way.
      scale: the factor lies in 1 +- this.
      translate: largest shift, as a share of the side, either way.
    """
    if not (rotate or scale or translate):
        return lambda example, seed: example

    def apply(example: Example, seed: tf.Tensor) -> Example:
        draw = tf.random.stateless_uniform([4], seed, minval=-1.0, maxval=1.0)
        size = tf.shape(example["labels"])
        transform = _inverse_affine(
            angle=draw[0] * rotate * math.pi / 180,
            factor=1 + draw[1] * scale,
            shift=draw[2:] * translate * tf.cast(size, tf.float32),
            size=size,
        )
        image = _warp(tf.cast(example["image"], tf.float32), transform, interpolation="BILINEAR")
        labels = _warp(tf.expand_dims(example["labels"], -1), transform, interpolation="NEAREST")
        return {**example, "image": _to_uint8(image), "labels": tf.squeeze(labels, -1)}

    return apply


def random_contrast(amount: float) -> Op:
    """Multiplies each channel's distance from its mean by a factor in 1 +- amount."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        factor = tf.random.stateless_uniform([], seed, minval=1 - amount, maxval=1 + amount)
        image = tf.cast(example["image"], tf.float32)
        mean = tf.reduce_mean(image, axis=(0, 1), keepdims=True)
        return {**example, "image": _to_uint8((image - mean) * factor + mean)}

    return apply


def random_brightness(amount: float) -> Op:
    """Adds to all channels one number in +- amount of the full range."""

    def apply(example: Example, seed: tf.Tensor) -> Example:
        shift = tf.random.stateless_uniform([], seed, minval=-amount, maxval=amount)
        return {**example, "image": _to_uint8(tf.cast(example["image"], tf.float32) + 255 * shift)}

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


def _inverse_affine(*, angle: tf.Tensor, factor: tf.Tensor, shift: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the 8 numbers of ImageProjectiveTransform, which map an output pixel (x, y) to its input place.

    The forward map is: scale by `factor` and turn by `angle` about the centre c, then move by `shift` =
    (dy, dx). Its inverse is input = R(-angle) (output - c - shift) / factor + c.
    """
    center = (tf.cast(size, tf.float32) - 1) / 2
    cos, sin = tf.cos(angle) / factor, tf.sin(angle) / factor
    from_y, from_x = center[0] + shift[0], center[1] + shift[1]
    offset_x = center[1] - cos * from_x - sin * from_y
    offset_y = center[0] + sin * from_x - cos * from_y
    return tf.stack([cos, sin, offset_x, -sin, cos, offset_y, 0.0, 0.0])


def _warp(image: tf.Tensor, transform: tf.Tensor, *, interpolation: str) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        fill_mode="REFLECT",
        interpolation=interpolation,
    )[0]
