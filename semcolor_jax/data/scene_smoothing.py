"""Smooths the scene labels, five categories per photo: `config.data.scene_smoothing`.

The paper says both: the teacher's five highest probabilities, renormalised ("top5", what data sets hold), and "we
assign the top 5 highest probabilities by Gaussian distribution" ("gaussian"). We read the latter as a Gaussian of the
rank, which keeps the teacher's order but not its confidence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example

RANK_SIGMA = 2.0
"""Standard deviation in ranks. The fifth category weighs exp(-2) of the first, like the four neighbours of a bin in the
soft-encoding of that bin's own colour."""


def gaussian_ranks(probabilities: Float32[np.ndarray, "*batch k"]) -> Float32[np.ndarray, "*batch k"]:
    """Returns exp(-rank^2 / (2 sigma^2)) of each probability, scaled to sum 1; the likeliest has rank 0.

    Categories of probability 0 keep it, so a certain scene stays certain and no scene stays none. Of equal
    probabilities the first ranks higher.
    """
    order = np.argsort(-probabilities, axis=-1, stable=True)
    ranks = np.argsort(order, axis=-1)
    weights = np.exp(-np.square(ranks / RANK_SIGMA) / 2) * (probabilities > 0)
    return (weights / np.maximum(weights.sum(axis=-1, keepdims=True), np.finfo(np.float32).tiny)).astype(np.float32)


def scene_smoothing(name: str) -> Callable[[Example, tf.Tensor], Example]:
    """Returns the op of `config.data.scene_smoothing`: "top5" changes nothing, "gaussian" weighs the ranks.

    Raises:
      ValueError: another name.
    """
    if name == "top5":
        return lambda example, seed: example
    if name != "gaussian":
        raise ValueError(f"unknown scene smoothing {name!r}")

    from semcolor_jax.data.cpu_tf import tf  # here, because `gaussian_ranks` does not need TensorFlow

    def apply(example: Example, seed: tf.Tensor) -> Example:
        del seed
        probabilities = example["scene_prob"]
        order = tf.argsort(probabilities, direction="DESCENDING", stable=True)
        ranks = tf.cast(tf.argsort(order), tf.float32)
        weights = tf.exp(-tf.square(ranks / RANK_SIGMA) / 2) * tf.cast(probabilities > 0, tf.float32)
        return {**example, "scene_prob": tf.math.divide_no_nan(weights, tf.reduce_sum(weights))}

    return apply
