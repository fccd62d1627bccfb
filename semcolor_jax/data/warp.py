"""Warps a photo and its labels: every output pixel looks up its position in the photo.

XLA compiles the warp into one loop; TensorFlow's own ops take more than twice as long (docs/performance.md). XLA
recompiles for every shape, and photos have many shapes; so the pixels are passed as a list, padded to the next power of
two, and one compilation serves all photos between two powers.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from semcolor_jax.data.cpu_tf import tf

_CAPACITIES = tuple(2**power for power in range(16, 30))  # pixels; three times the largest still fits an int32


class Warped(NamedTuple):
    """What a warp returns."""

    image: tf.Tensor  # uint8 (side, side, 3)
    labels: tf.Tensor  # uint8 (side, side)


def warp(image: tf.Tensor, labels: tf.Tensor, *, to_input: tf.Tensor, side: int) -> Warped:
    """Looks up each pixel of a square in the photo, bilinear, and in the labels, nearest.

    What lies outside the photo is reflected at its border: d c b a | a b c d | d c b a.

    Args:
      image: uint8 (h, w, 3).
      labels: uint8 (h, w).
      to_input: float32 (2, 3). Pixel (x, y) of the square lies at to_input @ (x, y, 1) = (x, y) in the photo;
        whole numbers are pixel centres.
      side: the square's, in pixels.
    """
    size = tf.shape(labels)
    pixels = size[0] * size[1]
    capacity = tf.gather(_CAPACITIES, tf.searchsorted(_CAPACITIES, pixels[None])[0])
    image_list = tf.pad(tf.reshape(image, [-1]), [[0, 3 * (capacity - pixels)]])
    label_list = tf.pad(tf.reshape(labels, [-1]), [[0, capacity - pixels]])
    result = cast(Warped, _warp(image_list, label_list, size, to_input, side=side))
    return Warped(tf.ensure_shape(result.image, [side, side, 3]), tf.ensure_shape(result.labels, [side, side]))


@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def _warp(image: tf.Tensor, labels: tf.Tensor, size: tf.Tensor, to_input: tf.Tensor, *, side: int) -> Warped:
    """As `warp`, with `image` (3 n,) and `labels` (n,), where only the first height * width places are pixels."""
    grid = tf.range(side, dtype=tf.float32)
    row, column = (
        _reflect(line[0] * grid[None, :] + line[1] * grid[:, None] + line[2], length=size[axis])
        for axis, line in ((0, to_input[1]), (1, to_input[0]))
    )
    pixels = tf.reshape(image, [-1, 3])

    def pixel(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(pixels, row * size[1] + column), tf.float32)

    top, left = tf.cast(tf.floor(row), tf.int32), tf.cast(tf.floor(column), tf.int32)
    bottom, right = tf.minimum(top + 1, size[0] - 1), tf.minimum(left + 1, size[1] - 1)
    down, across = (row - tf.floor(row))[..., None], (column - tf.floor(column))[..., None]
    upper = _mix(pixel(top, left), pixel(top, right), across)
    lower = _mix(pixel(bottom, left), pixel(bottom, right), across)
    nearest = tf.cast(tf.round(row), tf.int32) * size[1] + tf.cast(tf.round(column), tf.int32)
    return Warped(tf.cast(tf.round(_mix(upper, lower, down)), tf.uint8), tf.gather(labels, nearest))


def _mix(first: tf.Tensor, second: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return first + share * (second - first)


def _reflect(place: tf.Tensor, *, length: tf.Tensor) -> tf.Tensor:
    """Moves places on an endless line into 0..length - 1, as reflection at -1/2 and length - 1/2 does."""
    count = tf.cast(length, tf.float32)
    phase = tf.math.floormod(place + 0.5, 2 * count)
    return tf.clip_by_value(tf.minimum(phase, 2 * count - phase) - 0.5, 0, count - 1)
