"""Pixel-wise heads fused with their losses: on a CPU, only a few rows of logits exist at a time.

The 313-way and 183-way heads at full resolution are the memory peak of the plain step, and on a CPU most of its time
goes into reading and writing their logits. So there head, softmax and loss run over chunks of rows, small enough to
stay in cache. Both losses are linear in what flows back into them (a scalar), so the gradient is computed together with
the loss, in the same pass over the chunks, and only X_map's gradient (as large as X_map) is kept for the backward pass.

In the "xla" form (`semcolor_jax.backend`) they are what they equal: the losses of `losses.terms` on the head's logits,
float32, for all pixels at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, UInt8

from semcolor_jax.backend import barrier, on_one_cpu
from semcolor_jax.color import SoftCode
from semcolor_jax.losses import terms as losses
from semcolor_jax.models.semcolor import AB_SCALE
from semcolor_jax.ops.rows import join_rows, scan_rows

CHUNK_PIXELS = 2048
"""Pixels whose logits are alive at once: 313 float32 channels of them are 2.6 MB."""


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
    """Returns the head with these parameters ("kernel", "bias")."""
    return Head(kernel=params["kernel"], bias=params["bias"])


def soft_encoding_loss(
    x_map: Float[Array, "b h w width"], head: Head, *, target: SoftCode, rebalancing: Float[Array, " q"]
) -> Float[Array, ""]:
    """`losses.soft_encoding_loss` of the logits that the head reads out of X_map (eq. 17)."""
    if not on_one_cpu():
        return losses.soft_encoding_loss(_logits(x_map, head), target, rebalancing=rebalancing)
    of_pixel = rebalancing[target.indices[..., 0]] / (x_map.shape[0] * x_map.shape[1] * x_map.shape[2])
    return _with_gradient(_cross_entropy)(x_map, head, (target.indices, target.weights, of_pixel))


def softmax_dice_loss(
    x_map: Float[Array, "b h w width"], head: Head, *, labels: UInt8[Array, "b h w"]
) -> Float[Array, ""]:
    """`losses.softmax_dice_loss` of the logits that the head reads out of X_map (eq. 19)."""
    if not on_one_cpu():
        return losses.softmax_dice_loss(_logits(x_map, head), labels)
    return _with_gradient(_dice)(x_map, head, (labels,))


def regression_loss(x_map: Float[Array, "b h w width"], head: Head, *, ab: Float[Array, "b h w 2"]) -> Float[Array, ""]:
    """`losses.regression_loss` of the ab that the head reads out of X_map (eq. 18).

    Two channels need no chunks. It is here so that nothing of X_map's size is kept for the backward pass.
    """
    if not on_one_cpu():
        return losses.regression_loss(AB_SCALE * jnp.tanh(_logits(x_map, head)), ab)
    return _regression(x_map, head, ab)


def _logits(x_map: Float[Array, "b h w width"], head: Head) -> Float32[Array, "b h w channels"]:
    return x_map.astype(jnp.float32) @ head.kernel + head.bias


@jax.custom_vjp
def _regression(x_map: Array, head: Head, ab: Array) -> Array:
    return _regression_forward(x_map, head, ab)[0]


def _regression_forward(x_map: Array, head: Head, ab: Array) -> tuple[Array, tuple[Any, ...]]:
    x = x_map.astype(jnp.float32)
    loss, of_logits = jax.value_and_grad(lambda logits: losses.regression_loss(AB_SCALE * jnp.tanh(logits), ab))(
        _logits(x_map, head)
    )
    # The narrower factor goes first: XLA transposes it.
    of_head = Head(kernel=jnp.einsum("bhwk,bhwc->kc", of_logits, x).T, bias=jnp.sum(of_logits, axis=(0, 1, 2)))
    # Computed now: X_map would otherwise live until the optimizer asks for it.
    of_logits, of_head = barrier((of_logits, of_head))
    return loss, (of_logits.astype(x_map.dtype), head.kernel.astype(x_map.dtype), of_head)


def _regression_backward(residuals: tuple[Any, ...], upstream: Array) -> tuple[Array, Head, None]:
    of_logits, kernel, of_head = residuals
    of_map = (upstream.astype(of_logits.dtype) * of_logits) @ kernel.T
    return of_map, jax.tree.map(lambda gradient: upstream * gradient, of_head), None


_regression.defvjp(_regression_forward, _regression_backward)


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
    """Sum over pixels of their rebalancing weight times the cross-entropy against five bins."""
    matrix = _matrix(head)

    def chunk(matrix_gradient, inputs):
        x, *targets = inputs
        indices, weights, rebalancing = (target.reshape(-1, *target.shape[3:]) for target in targets)
        pixels = _pixels(x)
        logits = pixels @ matrix
        top = jnp.max(logits, axis=-1)
        exponentials = jnp.exp(logits - top[:, None])
        total = jnp.sum(exponentials, axis=-1)
        chosen = jnp.sum(weights * jnp.take_along_axis(logits, indices, axis=-1), axis=-1)
        loss = jnp.sum(rebalancing * (jnp.log(total) + top - chosen))
        # The dense target lives only inside this expression, which XLA fuses into one pass over the logits.
        bins = jnp.arange(logits.shape[-1])
        weights = weights * rebalancing[:, None]
        target = sum(jnp.where(indices[:, k, None] == bins, weights[:, k, None], 0.0) for k in range(weights.shape[-1]))
        gradient = (rebalancing / total)[:, None] * exponentials - target
        added, x_gradient = _backward(pixels, gradient, head)
        return matrix_gradient + added, (loss, x_gradient.reshape(x.shape))

    matrix_gradient, (of_chunks, x_gradient) = scan_rows(
        chunk, jnp.zeros_like(matrix), (x_map, *targets), pixels=CHUNK_PIXELS
    )
    return _LossAndGradient(
        loss=jnp.sum(of_chunks), x_map=join_rows(x_gradient, batch=x_map.shape[0]), head=_head(matrix_gradient)
    )


def _dice(x_map, head: Head, targets) -> _LossAndGradient:
    """One pass for each class's sums over pixels, one for the gradient that they determine."""
    (labels,) = targets
    matrix = _matrix(head)
    classes = jnp.arange(head.bias.shape[0])

    def probabilities(x, labels):
        pixels, labels = _pixels(x), labels.reshape(-1, 1)
        logits = pixels @ matrix
        exponentials = barrier(jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True)))
        prob = exponentials * (1.0 / jnp.sum(exponentials, axis=-1, keepdims=True))
        return pixels, prob, labels < classes.size, labels == classes

    def sums(carry, inputs):
        _, prob, valid, truth = probabilities(*inputs)
        overlap, squares, size = carry
        overlap += jnp.sum(jnp.where(truth, prob, 0.0), axis=0)
        squares += jnp.sum(jnp.where(valid, jnp.square(prob), 0.0), axis=0)
        size += jnp.sum(truth, axis=0, dtype=jnp.float32)
        return (overlap, squares, size), None

    zeros = jnp.zeros_like(head.bias)
    (overlap, squares, size), _ = scan_rows(sums, (zeros, zeros, zeros), (x_map, labels), pixels=CHUNK_PIXELS)
    present = size > 0
    count = jnp.maximum(jnp.sum(present), 1)
    denominator = jnp.where(present, size + squares, 1.0)
    score = jnp.where(present, 2.0 * overlap / denominator, 0.0)
    loss = jnp.where(jnp.any(present), 1.0 - jnp.sum(score) / count, 0.0)
    # d loss / d p = from_truth [p's own class] + from_square p, for labelled pixels and classes present.
    from_truth = jnp.where(present, -2.0 / denominator, 0.0) / count
    from_square = jnp.where(present, 2.0 * score / denominator, 0.0) / count

    def chunk(matrix_gradient, inputs):
        pixels, prob, valid, truth = probabilities(*inputs)
        wanted = jnp.where(truth, from_truth, 0.0) + from_square * prob
        gradient = jnp.where(valid, prob * (wanted - jnp.sum(prob * wanted, axis=-1, keepdims=True)), 0.0)
        added, x_gradient = _backward(pixels, gradient, head)
        return matrix_gradient + added, x_gradient.reshape(inputs[0].shape)

    matrix_gradient, x_gradient = scan_rows(chunk, jnp.zeros_like(matrix), (x_map, labels), pixels=CHUNK_PIXELS)
    return _LossAndGradient(loss=loss, x_map=join_rows(x_gradient, batch=x_map.shape[0]), head=_head(matrix_gradient))


def _matrix(head: Head) -> Float[Array, "rows channels"]:
    """Returns kernel and bias as one matrix, for pixels with a 1 appended, so that one product adds the bias too."""
    return jnp.concatenate([head.kernel, head.bias[None]])


def _head(matrix: Float[Array, "rows channels"]) -> Head:
    return Head(kernel=matrix[:-1], bias=matrix[-1])


def _pixels(x: Float[Array, "b r w width"]) -> Float[Array, "pixels columns"]:
    x = x.astype(jnp.float32).reshape(-1, x.shape[-1])
    return jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=-1)


def _backward(
    pixels: Float[Array, "pixels columns"], gradient: Float[Array, "pixels channels"], head: Head
) -> tuple[Float[Array, "columns channels"], Float[Array, "pixels width"]]:
    """Returns the gradients of matrix and pixels from that of the logits."""
    gradient = barrier(gradient)  # otherwise XLA computes it once per product
    return jnp.einsum("pc,pq->cq", pixels, gradient), gradient @ head.kernel.T
