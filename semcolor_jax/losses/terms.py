"""The four losses of the paper and their weighted sum (eqs. 16-20), as pure functions of one batch.

Targets stay sparse: five colour bins and five scenes with their weights, one class id per pixel. The dense
(B, H, W, 313) target is never built. All inputs are cast to float32 and every loss is a float32 scalar.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from semcolor_jax.color import SoftCode


def soft_encoding_loss(
    logits: Float[Array, "*b q"], target: SoftCode, *, rebalancing: Float[Array, " q"]
) -> Float[Array, ""]:
    """Weighted cross-entropy between the colour distribution and the soft-encoded truth (eq. 17).

    The paper sums over pixels; this is the mean, which does not change with the image's size.

    Args:
      logits: unnormalised log-probabilities of the colour bins.
      target: the 5 nearest bins of each pixel, nearest first, and their weights (sum 1).
      rebalancing: w of eq. 12. The weight of a pixel is that of its most probable bin q*, the nearest one.

    Raises:
      ValueError: the shapes do not belong together.
    """
    _check_shape("target.indices", target.indices.shape, (*logits.shape[:-1], target.indices.shape[-1]))
    _check_shape("target.weights", target.weights.shape, target.indices.shape)
    _check_shape("rebalancing", rebalancing.shape, logits.shape[-1:])
    logits = logits.astype(jnp.float32)
    # log_softmax of five bins only: one log-sum-exp per pixel and a gather, no second array of 313 channels.
    chosen = jnp.take_along_axis(logits, target.indices, axis=-1)
    log_normalizer = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    cross_entropy = -jnp.sum(target.weights * (chosen - log_normalizer), axis=-1)
    return jnp.mean(rebalancing[target.indices[..., 0]] * cross_entropy)


def regression_loss(ab: Float[Array, "*b 2"], target: Float[Array, "*b 2"]) -> Float[Array, ""]:
    """Mean over pixels of the squared distance between predicted and true ab (eq. 18), both in ab / 110.

    Raises:
      ValueError: the shapes differ.
    """
    _check_shape("target", target.shape, ab.shape)
    difference = (ab.astype(jnp.float32) - target.astype(jnp.float32)) / 110.0
    return jnp.mean(jnp.sum(jnp.square(difference), axis=-1))


def scene_loss(logits: Float[Array, "b c"], *, index: Int[Array, "b k"], prob: Float[Array, "b k"]) -> Float[Array, ""]:
    """Cross-entropy against the teacher's top-5 scene probabilities (eq. 20): the label-smoothed target.

    Samples whose probabilities are all 0 have no scene label and are left out of the mean; with none labelled the
    loss is 0.

    Raises:
      ValueError: the shapes do not belong together.
    """
    _check_shape("index", index.shape, (logits.shape[0], index.shape[-1]))
    _check_shape("prob", prob.shape, index.shape)
    log_prob = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    cross_entropy = -jnp.sum(prob * jnp.take_along_axis(log_prob, index, axis=-1), axis=-1)
    labelled = (jnp.sum(prob, axis=-1) > 0).astype(jnp.float32)
    return jnp.sum(labelled * cross_entropy) / jnp.maximum(jnp.sum(labelled), 1.0)


def softmax_dice_loss(
    logits: Float[Array, "b h w s"], labels: UInt8[Array, "b h w"] | Int[Array, "b h w"]
) -> Float[Array, ""]:
    """One minus the mean soft Dice score over the classes present in the batch (eq. 19).

    The sums over p run over all pixels of the batch that have a label: pixels labelled 255, or with any other number
    that is no class, count neither in the overlap nor in the squares. A class without pixels is left out of the mean:
    its empty overlap would score a free 1 or a certain 0. Without any labelled pixel the loss is 0.

    Raises:
      ValueError: the shapes differ.
    """
    _check_shape("labels", labels.shape, logits.shape[:-1])
    valid = (labels < logits.shape[-1]).astype(jnp.float32)[..., None]
    prob = jax.nn.softmax(logits.astype(jnp.float32), axis=-1) * valid
    truth = jax.nn.one_hot(labels, logits.shape[-1]) * valid
    pixels = (0, 1, 2)
    overlap = jnp.sum(prob * truth, axis=pixels)
    size = jnp.sum(truth, axis=pixels)  # one-hot: the square is the value itself
    squares = size + jnp.sum(jnp.square(prob), axis=pixels)
    present = size > 0
    # An absent class has squares > 0 from its false positives, or 0/0 when even those vanish: keep 0/0 out of where.
    dice = 2.0 * overlap / jnp.where(present, squares, 1.0)
    count = jnp.sum(present)
    return jnp.where(count > 0, 1.0 - jnp.sum(jnp.where(present, dice, 0.0)) / jnp.maximum(count, 1), 0.0)


def joint_loss(terms: Mapping[str, Float[Array, ""]], *, weights: Mapping[str, float]) -> Float[Array, ""]:
    """The weighted sum of the branches that are switched on (eq. 16).

    Args:
      terms: loss by branch, a subset of "soft", "reg", "scene", "seg".
      weights: alpha_1 .. alpha_4 by the same names.
    """
    return sum((weights[name] * loss for name, loss in terms.items()), start=jnp.zeros(()))


def _check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuses the silent broadcasting that turns a wrong shape into a wrong loss."""
    if shape != expected:
        raise ValueError(f"{name} has shape {shape}, expected {expected}.")
