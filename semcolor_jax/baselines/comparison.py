"""The losses of the comparison methods; docs/comparison_methods.md has their sources and what is uncertain.

The names of the terms are those of their weights in `config.loss`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from semcolor_jax.baselines.hints import random_hints
from semcolor_jax.baselines.iizuka2016 import AB_LIMIT
from semcolor_jax.baselines.larsson2016 import DENSE_STRIDE
from semcolor_jax.baselines.zhang2016 import LOGITS_STRIDE, HintedOutputs
from semcolor_jax.color.encoding import soft_encode_nearest
from semcolor_jax.color.hue_chroma import HISTOGRAM_BINS, HueChroma, histogram_bin, rgb_to_hue_chroma
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.objective import Inputs, ModelLosses, Objective
from semcolor_jax.models import Predictions
from semcolor_jax.models.semcolor import AB_SCALE

GREY_BELOW = 5.0
"""A photo none of whose |a| and |b| exceeds this teaches no colour (Zhang et al. 2016)."""

SAMPLED_PART = (96 / 352, 256 / 352)
"""From where to where Larsson et al. draw their places, along both sides of the crop."""

WINDOW = 7
"""Side of the square whose histogram a place is trained towards, in pixels."""

GRID_STEP, GRID_SIDE = 10, 23
"""Distance of the 23 x 23 class centres of `siggraph17` in CIE units, and their number along a and b."""


def zhang2016(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Cross-entropy against the soft-encoded ab of every fourth pixel of every fourth row, not averages.

    Rebalancing, and leaving grey photos out, act on the gradient alone: the value is the plain cross-entropy, as the
    authors print it.
    """
    predictions, stats = _apply(model, variables, inputs)
    logits = cast(Array, cast(Predictions, predictions).color_logits)
    ab = inputs.lab[:, ::LOGITS_STRIDE, ::LOGITS_STRIDE, 1:]
    config = inputs.loss_config
    indices, weights = soft_encode_nearest(ab, nearest=config["encoding_nearest"], sigma=config["encoding_sigma"])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), indices, axis=-1)
    cross_entropy = -jnp.sum(weights * chosen, axis=-1)
    colourful = jnp.any(jnp.abs(ab) > GREY_BELOW, axis=(1, 2, 3))[:, None, None]
    plain = jnp.mean(cross_entropy)
    weighted = jnp.mean(inputs.class_weights[indices[..., 0]] * colourful * cross_entropy)
    return ModelLosses({"soft": weighted + jax.lax.stop_gradient(plain - weighted)}, stats)


def siggraph17(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Huber loss of ab / 110 (it turns at one CIE unit), and cross-entropy of the side task's 529 classes.

    The network sees random hints of the true colour. The authors train the two tasks one after the other; the weights
    `config.loss.soft` and `config.loss.reg` can do that, too.
    """
    ab = inputs.lab[..., 1:]
    key = jax.random.fold_in(inputs.rngs["dropout"], 1)
    hints = random_hints(key, ab, stop=inputs.loss_config["hint_stop"])
    outputs, stats = _apply(model, variables, inputs, method="outputs", hints=hints)
    outputs = cast(HintedOutputs, outputs)
    error = jnp.abs(outputs.ab - ab) / AB_SCALE
    turn = 1 / AB_SCALE
    huber = jnp.where(error < turn, jnp.square(error) / 2, turn * (error - turn / 2))
    cell = grid_class(ab[:, ::LOGITS_STRIDE, ::LOGITS_STRIDE])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs.class_logits, axis=-1), cell[..., None], axis=-1)
    return ModelLosses({"reg": jnp.mean(jnp.sum(huber, axis=-1)), "soft": -jnp.mean(chosen)}, stats)


def larsson2016(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """KL divergence from the histograms of hue and of chroma in a 7x7 window, at random places of each photo.

    Hue counts by the chroma of the place, chroma by 3 min(L, 1/3, 1 - L) with L the mean of its R, G and B.
    """
    rgb = inputs.batch["image"].astype(jnp.float32) / 255
    count = inputs.loss_config["sample_places"]
    key = jax.random.fold_in(inputs.rngs["dropout"], 1)
    places = random_places(key, rgb, count=count) if count else grid_places(rgb)
    logits, stats = _apply(model, variables, inputs, method="histogram_logits", places=places)
    logits = cast(HueChroma, logits)
    truth = window_histograms(rgb_to_hue_chroma(rgb), places)
    here = _read(rgb, places)
    grey = jnp.mean(here, axis=-1)
    hue_weight = jnp.max(here, axis=-1) - jnp.min(here, axis=-1)
    chroma_weight = 3 * jnp.minimum(jnp.minimum(grey, 1 / 3), 1 - grey)
    terms = {
        "hue": jnp.mean(hue_weight * kl_divergence(truth.hue, logits.hue)),
        "chroma": jnp.mean(chroma_weight * kl_divergence(truth.chroma, logits.chroma)),
    }
    return ModelLosses(terms, stats)


def iizuka2016(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Mean squared error of ab scaled to 0..1, and the scene's cross-entropy (its published weight is 1 / 300).

    The scene is read from the global features, so its gradient reaches them and the low-level ones, and neither the
    mid-level layers nor the colorization.
    """
    predictions, stats = _apply(model, variables, inputs)
    predictions = cast(Predictions, predictions)
    error = (cast(Array, predictions.ab) - inputs.lab[..., 1:]) / (2 * AB_LIMIT)
    scene = losses.scene_loss(
        cast(Array, predictions.scene_logits), index=inputs.batch["scene_index"], prob=inputs.batch["scene_prob"]
    )
    return ModelLosses({"reg": jnp.mean(jnp.square(error)), "scene": scene}, stats)


OBJECTIVES: dict[str, Objective] = {
    "zhang2016": zhang2016,
    "siggraph17": siggraph17,
    "larsson2016": larsson2016,
    "iizuka2016": iizuka2016,
}


def _apply(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs, **arguments: Any) -> tuple[Any, Any]:
    """Runs the network on the batch's lightness; returns its output and the new batch statistics."""
    output, updated = model.apply(
        variables, inputs.lab[..., :1], train=True, mutable=["batch_stats"], rngs=dict(inputs.rngs), **arguments
    )
    return output, updated.get("batch_stats", {})


def grid_class(ab: Float[Array, "*n 2"]) -> Int[Array, "*n"]:
    """Returns the nearest of the 529 points of the grid of step 10 over -110..110, a first."""
    steps = jnp.rint(ab / GRID_STEP).astype(jnp.int32) + GRID_SIDE // 2
    steps = jnp.clip(steps, 0, GRID_SIDE - 1)
    return steps[..., 0] * GRID_SIDE + steps[..., 1]


def random_places(key: jax.Array, rgb: Float[Array, "b h w 3"], *, count: int) -> Int[Array, "b p 2"]:
    """Draws `count` pixels (row, column) per photo from the middle of the crop."""
    batch, height, width = rgb.shape[:3]
    low, high = SAMPLED_PART
    share = jax.random.uniform(key, (batch, count, 2), minval=low, maxval=high)
    return (share * jnp.asarray([height, width])).astype(jnp.int32)


def grid_places(rgb: Float[Array, "b h w 3"]) -> Int[Array, "b p 2"]:
    """Returns one pixel in every 4x4 of the photo."""
    batch, height, width = rgb.shape[:3]
    rows, columns = (jnp.arange(min(DENSE_STRIDE // 2, side - 1), side, DENSE_STRIDE) for side in (height, width))
    grid = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(1, -1, 2)
    return jnp.broadcast_to(grid, (batch, grid.shape[1], 2))


def window_histograms(color: HueChroma, places: Int[Array, "b p 2"]) -> HueChroma:
    """Returns the distributions (b, p, 32) of hue and chroma (b, h, w) in the window around each place.

    Beyond the edge of the photo its outermost pixels are repeated.
    """
    around = jnp.arange(WINDOW) - WINDOW // 2
    offsets = jnp.stack(jnp.meshgrid(around, around, indexing="ij"), axis=-1).reshape(-1, 2)
    pixels = places[:, :, None] + offsets
    batch, count, size, _ = pixels.shape

    def histogram(plane: Array) -> Array:
        values = _read(plane, pixels.reshape(batch, count * size, 2)).reshape(batch, count, size)
        return jnp.mean(jax.nn.one_hot(histogram_bin(values), HISTOGRAM_BINS), axis=2)

    return HueChroma(hue=histogram(color.hue), chroma=histogram(color.chroma))


def kl_divergence(truth: Float[Array, "*n q"], logits: Float[Array, "*n q"]) -> Float[Array, "*n"]:
    """Returns sum truth log(truth / softmax(logits)) over the last axis; a bin without truth adds nothing."""
    log_prob = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    log_truth = jnp.log(jnp.where(truth > 0, truth, 1.0))
    return jnp.sum(truth * (log_truth - log_prob), axis=-1)


def _read(planes: Array, pixels: Int[Array, "b p 2"]) -> Array:
    """Returns the values (b, p, ...) at pixels of planes (b, h, w, ...); those outside are moved to the edge."""
    height, width = planes.shape[1:3]
    rows, columns = jnp.clip(pixels[..., 0], 0, height - 1), jnp.clip(pixels[..., 1], 0, width - 1)
    return jax.vmap(lambda plane, r, c: plane[r, c])(planes, rows, columns)
