"""The paper's objective: what a batch's predictions are compared with, and the losses of every branch (eqs. 17-20).

Colours and labels are compared at the resolution of X_map, which is the photo's, divided by the network's
`output_stride`: ab is averaged over each cell, and a cell takes the label of its middle pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from semcolor_jax.color import SoftCode, soft_encode
from semcolor_jax.losses import fused_heads
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.fused_heads import head_of
from semcolor_jax.losses.objective import Inputs, ModelLosses, apply_model
from semcolor_jax.models import Predictions


class Targets(NamedTuple):
    """What the branches are trained towards, made on the device from the batch."""

    ab: Float[Array, "b h w 2"]  # CIE units
    code: SoftCode  # of ab
    rebalancing: Float[Array, " bins"]  # w of eq. 12
    labels: UInt8[Array, "b h w"]
    scene_index: Int[Array, "b 5"]
    scene_prob: Float[Array, "b 5"]


def make_targets(inputs: Inputs, *, stride: int = 1) -> Targets:
    """Returns the targets of a batch, for cells of stride x stride pixels.

    Raises:
      ValueError: the photos do not divide into such cells.
    """
    ab, labels = inputs.lab[..., 1:], inputs.batch["labels"]
    if stride > 1:
        size, height, width, _ = ab.shape
        if height % stride or width % stride:
            raise ValueError(f"photos of {height} x {width} pixels do not divide into cells of {stride} x {stride}")
        cells = ab.reshape(size, height // stride, stride, width // stride, stride, 2)
        ab, labels = jnp.mean(cells, axis=(2, 4)), labels[:, stride // 2 :: stride, stride // 2 :: stride]
    return Targets(
        ab=ab,
        code=soft_encode(ab, sigma=inputs.loss_config["encoding_sigma"]),
        rebalancing=inputs.rebalancing,
        labels=labels,
        scene_index=inputs.batch["scene_index"],
        scene_prob=inputs.batch["scene_prob"],
    )


def loss_terms(predictions: Predictions, targets: Targets) -> dict[str, jax.Array]:
    """Returns the loss of every branch that was predicted, by the branch's name."""
    terms = {}
    if predictions.color_logits is not None:
        terms["soft"] = losses.soft_encoding_loss(
            predictions.color_logits, targets.code, rebalancing=targets.rebalancing
        )
    if predictions.ab is not None:
        terms["reg"] = losses.regression_loss(predictions.ab, targets.ab)
    if predictions.scene_logits is not None:
        terms["scene"] = losses.scene_loss(predictions.scene_logits, index=targets.scene_index, prob=targets.scene_prob)
    if predictions.seg_logits is not None:
        terms["seg"] = losses.softmax_dice_loss(predictions.seg_logits, targets.labels)
    return terms


def plain_losses(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs, targets: Targets) -> ModelLosses:
    """The losses of any network that returns `Predictions`, with all logits at once.

    One that has `features` and `heads` is compared at X_map's resolution, any other at the photo's.
    """
    if not hasattr(model, "heads"):
        predictions, batch_stats = apply_model(model, variables, inputs)
        return ModelLosses(loss_terms(predictions, targets), batch_stats)
    features, batch_stats = apply_model(model, variables, inputs, method="features")
    predictions = model.apply({"params": variables["params"]}, features.map, method="heads")
    assert isinstance(predictions, Predictions)
    predictions = dataclasses.replace(predictions, scene_logits=features.scene_logits)
    return ModelLosses(loss_terms(predictions, targets), batch_stats)


def fused_losses(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs, targets: Targets) -> ModelLosses:
    """The same losses of a network with `features` and `heads`, each fused with its head (`losses.fused_heads`)."""
    features, batch_stats = apply_model(model, variables, inputs, method="features")
    params = variables["params"]
    terms = loss_terms(Predictions(scene_logits=features.scene_logits), targets)
    if "reg_head" in params:
        terms["reg"] = fused_heads.regression_loss(features.map, head_of(params["reg_head"]), ab=targets.ab)
    if "soft_head" in params:
        terms["soft"] = fused_heads.soft_encoding_loss(
            features.map, head_of(params["soft_head"]), target=targets.code, rebalancing=targets.rebalancing
        )
    if "seg_head" in params:
        terms["seg"] = fused_heads.softmax_dice_loss(features.map, head_of(params["seg_head"]), labels=targets.labels)
    return ModelLosses(terms, batch_stats)


HEADS: Mapping[str, Callable[..., ModelLosses]] = {"fused": fused_losses, "plain": plain_losses}
"""By `config.loss.heads`."""


def semcolor(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """The losses of the paper's method.

    Raises:
      ValueError: the photos' sides are no multiples of the network's output stride.
    """
    targets = make_targets(inputs, stride=getattr(model, "output_stride", 1))
    return HEADS[inputs.loss_config["heads"]](model, variables, inputs, targets)
