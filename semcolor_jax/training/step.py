"""One training step: uint8 batch in, next state and scalars out, compiled as a single program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from semcolor_jax import backend
from semcolor_jax.baselines.registry import find_method
from semcolor_jax.color import SoftCode, rgb_to_lab, soft_encode
from semcolor_jax.losses import fused_heads
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.objective import Batch, Inputs, ModelLosses, Objective
from semcolor_jax.models import Predictions
from semcolor_jax.training.state import PyTree, TrainState, average

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


class Targets(NamedTuple):
    """What the colour branches are trained towards, made on the device from the batch's photos."""

    ab: Float[Array, "b h w 2"]  # CIE units
    code: SoftCode
    class_weights: Float[Array, " bins"]


def loss_terms(predictions: Predictions, batch: Batch, *, targets: Targets) -> dict[str, jax.Array]:
    """Returns the loss of every branch that was predicted, by the branch's name."""
    terms = {}
    if predictions.color_logits is not None:
        terms["soft"] = losses.soft_encoding_loss(
            predictions.color_logits, targets.code, class_weights=targets.class_weights
        )
    if predictions.ab is not None:
        terms["reg"] = losses.regression_loss(predictions.ab, targets.ab)
    if predictions.scene_logits is not None:
        terms["scene"] = losses.scene_loss(
            predictions.scene_logits, index=batch["scene_index"], prob=batch["scene_prob"]
        )
    if predictions.seg_logits is not None:
        terms["seg"] = losses.softmax_dice_loss(predictions.seg_logits, batch["labels"])
    return terms


def plain_losses(
    model: nn.Module, variables: PyTree, lightness: jax.Array, batch: Batch, *, targets: Targets, rngs: PyTree
) -> ModelLosses:
    """The losses of any network that returns `Predictions`, all logits at once."""
    predictions, updated = model.apply(variables, lightness, train=True, mutable=["batch_stats"], rngs=rngs)
    return ModelLosses(loss_terms(predictions, batch, targets=targets), updated.get("batch_stats", {}))


def fused_losses(
    model: nn.Module, variables: PyTree, lightness: jax.Array, batch: Batch, *, targets: Targets, rngs: PyTree
) -> ModelLosses:
    """The same losses of a network with `features` and `heads`, without the logits ever being whole.

    They are taken at X_map's resolution, which is `model.output_stride` times smaller than the image.
    """
    features, updated = model.apply(
        variables, lightness, train=True, mutable=["batch_stats"], rngs=rngs, method="features"
    )
    params = variables["params"]
    terms = loss_terms(Predictions(scene_logits=features.scene_logits), batch, targets=targets)
    if "reg_head" in params:
        terms["reg"] = fused_heads.regression_loss(features.map, fused_heads.head_of(params["reg_head"]), ab=targets.ab)
    if "soft_head" in params:
        terms["soft"] = fused_heads.soft_encoding_loss(
            features.map,
            fused_heads.head_of(params["soft_head"]),
            target=targets.code,
            class_weights=targets.class_weights,
        )
    if "seg_head" in params:
        terms["seg"] = fused_heads.softmax_dice_loss(
            features.map, fused_heads.head_of(params["seg_head"]), labels=batch["labels"]
        )
    return ModelLosses(terms, updated.get("batch_stats", {}))


LOSSES_BY_NAME = {"fused": fused_losses, "plain": plain_losses}
"""`config.loss.heads`."""


def _targets(lab: jax.Array, batch: Batch, *, stride: int) -> tuple[jax.Array, Batch]:
    """Returns ab, averaged over cells of stride x stride pixels, and the batch with labels of the cells' centres."""
    ab = lab[..., 1:]
    if stride == 1:
        return ab, batch
    size, height, width, _ = ab.shape
    if height % stride or width % stride:
        raise ValueError(f"photos of {height} x {width} pixels do not divide into cells of {stride} x {stride}")
    cells = ab.reshape(size, height // stride, stride, width // stride, stride, 2)
    labels = batch["labels"][:, stride // 2 :: stride, stride // 2 :: stride]
    return jnp.mean(cells, axis=(2, 4)), {**batch, "labels": labels}


def semcolor(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """The losses of the paper's method."""
    config = inputs.loss_config
    stride = getattr(model, "output_stride", 1) if config["heads"] == "fused" else 1
    ab, batch = _targets(inputs.lab, inputs.batch, stride=stride)
    targets = Targets(ab=ab, code=soft_encode(ab, sigma=config["encoding_sigma"]), class_weights=inputs.class_weights)
    evaluate_losses = LOSSES_BY_NAME[config["heads"]]
    return evaluate_losses(model, variables, inputs.lab[..., :1], batch, targets=targets, rngs=inputs.rngs)


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    loss_config: ConfigDict,
    class_weights: np.ndarray,
    seed: int,
    method: str = "semcolor",
    ema_decay: float = 0.0,
) -> TrainStep:
    """Builds the jitted step.

    The state is donated: the caller's old state must not be used again. Randomness inside the network is a function
    of (seed, step) alone, so a resumed run repeats the uninterrupted one. A batch sharded over a mesh gives the same
    numbers as on one device, because all means and statistics are over the global batch.

    Args:
      model: the network of the method.
      optimizer: its update takes the joint loss as `value`.
      loss_config: `config.loss`: the weights of the terms by name, and what else the losses need.
      class_weights: (313,) rebalancing weights (eq. 12).
      seed: of the run.
      method: `config.model.method`, which names the losses.
      ema_decay: of the averaged parameters, if the state has any.

    Returns:
      step(state, batch) -> (state, metrics); metrics are float32 scalars: "loss", each term's own, "grad_norm" and
      "learning_rate".
    """
    key = jax.random.key(seed)
    weights_of_bins = jnp.asarray(class_weights, jnp.float32)
    objective: Objective = find_method(method).objective or semcolor

    def step(state: TrainState, batch: Batch):
        inputs = Inputs(
            batch=batch,
            lab=rgb_to_lab(batch["image"]),
            loss_config=loss_config,
            class_weights=weights_of_bins,
            rngs={"dropout": jax.random.fold_in(key, state.step)},
        )

        def joint(params):
            result = objective(model, {"params": params, "batch_stats": state.batch_stats}, inputs)
            alphas = {name: loss_config[name] for name in result.terms}
            return losses.joint_loss(result.terms, weights=alphas), result

        (loss, result), grads = jax.value_and_grad(joint, has_aux=True)(state.params)
        # Weights change when all gradients are there. Else XLA copies them first, for gradients that still need them.
        grads = backend.barrier(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=loss)
        params = cast(PyTree, optax.apply_updates(state.params, updates))
        new_state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=result.batch_stats,
            opt_state=opt_state,
            ema=average(state.ema, params, step=state.step, decay=ema_decay),
        )
        metrics = {
            "loss": loss,
            **result.terms,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": optax.tree.get(opt_state, "learning_rate"),
        }
        return new_state, metrics

    return jax.jit(step, donate_argnums=0, compiler_options=backend.compiler_options())
