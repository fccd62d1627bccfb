"""The two wide heads fused with their losses: logits exist for a few rows of the batch at a time.

The 313-way and 183-way heads at full resolution are the memory peak of the plain step, and most of its time goes into
reading and writing their logits. Here head, softmax and loss run over chunks of rows, small enough to stay in cache.
Both losses are linear in what flows back into them (a scalar), so the gradient is computed together with the loss, in
the same pass over the chunks, and only X_map's gradient (as large as X_map) is kept for the backward pass.

The values and gradients are those of `losses.soft_encoding_loss` and `losses.softmax_dice_loss` on the head's logits.
Chunks are taken along the image's rows, never along the batch: a batch that is sharded over devices stays so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from semcolor_jax.color import SoftCode
from semcolor_jax.data.example import IGNORE_LABEL

CHUNK_PIXELS = 8192
"""Pixels of the batch whose logits are alive at once: 313 float32 channels of them are 10 MB."""


class Head(NamedTuple):
    """The weights of a 1x1 convolution."""

    kernel: Float[Array, "width channels"]
    bias: Float[Array, " channels"]


class _LossAndGradient(NamedTuple):
    """A loss, and its gradient with respect to X_map and the head."""

    loss: Float[Array, ""]
    x_map: Float[Array, "b h w width"]
    head: Head


def head_of(params: Mapping[str, Any]) -> Head:
    """Returns the head whose parameters ("kernel", "bias") these are."""
    return Head(kernel=params["kernel"], bias=params["bias"])


def soft_encoding_loss(
    x_map: Float[Array, "b h w width"], head: Head, *, target: SoftCode, class_weights: Float[Array, " q"]
) -> Float[Array, ""]:
    """`losses.soft_encoding_loss` of the logits that the head reads out of X_map (eq. 17)."""
    pixel_weight = class_weights[target.indices[..., 0]] / (x_map.shape[0] * x_map.shape[1] * x_map.shape[2])
    return _with_gradient(_cross_entropy)(x_map, head, (target.indices, target.weights, pixel_weight))


def softmax_dice_loss(
    x_map: Float[Array, "b h w width"], head: Head, *, labels: UInt8[Array, "b h w"]
) -> Float[Array, ""]:
    """`losses.softmax_dice_loss` of the logits that the head reads out of X_map (eq. 19)."""
    return _with_gradient(_dice)(x_map, head, (labels,))


def _with_gradient(evaluate: Callable[..., _LossAndGradient]) -> Callable[..., Float[Array, ""]]:
    """Turns a function that computes loss and gradient at once into a differentiable loss of (x_map, head)."""

    @functools.partial(jax.custom_vjp)
    def loss(x_map, head, targets):
        return evaluate(x_map, head, targets).loss

    def forward(x_map, head, targets):
        result = evaluate(x_map, head, targets)
        return result.loss, (result.x_map.astype(x_map.dtype), result.head)

    def backward(residuals, upstream):
        scaled = jax.tree.map(lambda gradient: (upstream * gradient).astype(gradient.dtype), residuals)
        return (*scaled, None)

    loss.defvjp(forward, backward)
    return loss


def _cross_entropy(x_map, head: Head, targets) -> _LossAndGradient:
    """Sum over pixels of pixel_weight times the cross-entropy against five bins."""

    def chunk(head_gradient, inputs):
        x, indices, weights, pixel_weight = inputs
        x = x.astype(jnp.float32)
        logits = x @ head.kernel + head.bias
        top = jnp.max(logits, axis=-1, keepdims=True)
        exponentials = jnp.exp(logits - top)
        total = jnp.sum(exponentials, axis=-1, keepdims=True)
        chosen = jnp.sum(weights * jnp.take_along_axis(logits, indices, axis=-1), axis=-1)
        loss = jnp.sum(pixel_weight * ((jnp.log(total) + top)[..., 0] - chosen))
        # The dense target lives only inside this expression, which XLA fuses into one pass over the logits.
        bins = jnp.arange(logits.shape[-1])
        target = sum(weights[..., k, None] * (indices[..., k, None] == bins) for k in range(weights.shape[-1]))
        gradient = pixel_weight[..., None] * (exponentials / total - target)
        return _add(head_gradient, x, gradient), (loss, gradient @ head.kernel.T)

    head_gradient, (losses, x_gradient) = _scan_rows(chunk, _zeros(head), (x_map, *targets))
    return _LossAndGradient(loss=jnp.sum(losses), x_map=_join_rows(x_gradient), head=head_gradient)


def _dice(x_map, head: Head, targets) -> _LossAndGradient:
    """One pass for the sums over pixels that the score of each class needs, one for the gradient they determine."""
    (labels,) = targets
    classes = jnp.arange(head.bias.shape[0])

    def probabilities(x, labels):
        prob = jax.nn.softmax(x.astype(jnp.float32) @ head.kernel + head.bias, axis=-1)
        return prob, (labels != IGNORE_LABEL)[..., None], labels[..., None] == classes

    def sums(carry, inputs):
        prob, valid, truth = probabilities(*inputs)
        overlap, squares, size = carry
        pixels = (0, 1, 2)
        overlap += jnp.sum(jnp.where(truth, prob, 0.0), axis=pixels)
        squares += jnp.sum(jnp.where(valid, jnp.square(prob), 0.0), axis=pixels)
        size += jnp.sum(truth, axis=pixels, dtype=jnp.float32)
        return (overlap, squares, size), None

    zeros = jnp.zeros_like(head.bias)
    (overlap, squares, size), _ = _scan_rows(sums, (zeros, zeros, zeros), (x_map, labels))
    present = size > 0
    count = jnp.maximum(jnp.sum(present), 1)
    denominator = jnp.where(present, size + squares, 1.0)
    score = jnp.where(present, 2.0 * overlap / denominator, 0.0)
    loss = jnp.where(jnp.any(present), 1.0 - jnp.sum(score) / count, 0.0)
    # d loss / d p = from_truth [p's own class] + from_square p, for labelled pixels and classes present.
    from_truth = jnp.where(present, -2.0 / denominator, 0.0) / count
    from_square = jnp.where(present, 2.0 * score / denominator, 0.0) / count

    def chunk(head_gradient, inputs):
        prob, valid, truth = probabilities(*inputs)
        wanted = jnp.where(valid, jnp.where(truth, from_truth, 0.0) + from_square * prob, 0.0)
        gradient = prob * (wanted - jnp.sum(prob * wanted, axis=-1, keepdims=True))
        return _add(head_gradient, inputs[0].astype(jnp.float32), gradient), gradient @ head.kernel.T

    head_gradient, x_gradient = _scan_rows(chunk, _zeros(head), (x_map, labels))
    return _LossAndGradient(loss=loss, x_map=_join_rows(x_gradient), head=head_gradient)


def _zeros(head: Head) -> Head:
    return Head(kernel=jnp.zeros_like(head.kernel), bias=jnp.zeros_like(head.bias))


def _add(total: Head, x: Float[Array, "b r w width"], gradient: Float[Array, "b r w channels"]) -> Head:
    """Adds a chunk's part of the head's gradient."""
    kernel = jnp.einsum("brwc,brwq->cq", x, gradient)
    return Head(kernel=total.kernel + kernel, bias=total.bias + jnp.sum(gradient, axis=(0, 1, 2)))


def _scan_rows(function: Callable, carry: Any, arrays: tuple[Array, ...]) -> tuple[Any, Any]:
    """`lax.scan` of `function` over chunks of rows (axis 1) of arrays (B, H, W, ...)."""
    batch, height, width = arrays[0].shape[:3]
    rows = _rows_per_chunk(height, row_pixels=batch * width)
    chunks = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(batch, height // rows, rows, *a.shape[2:]), 1, 0), arrays)
    return jax.lax.scan(function, carry, chunks)


def _join_rows(chunks: Float[Array, "n b r w c"]) -> Float[Array, "b h w c"]:
    """Puts the chunks of `_scan_rows` together again."""
    n, batch, rows, width, channels = chunks.shape
    return jnp.moveaxis(chunks, 0, 1).reshape(batch, n * rows, width, channels)


def _rows_per_chunk(height: int, *, row_pixels: int) -> int:
    """Returns the largest divisor of the height that keeps a chunk within CHUNK_PIXELS, or else 1."""
    fitting = [rows for rows in range(1, height + 1) if height % rows == 0 and rows * row_pixels <= CHUNK_PIXELS]
    return max(fitting, default=1)
