"""One training step: uint8 batch in, next state and scalars out, compiled as a single program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from semcolor_jax.color import rgb_to_lab, soft_encode
from semcolor_jax.models import Predictions
from semcolor_jax.training import losses
from semcolor_jax.training.state import TrainState

Batch = Mapping[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def loss_terms(
    predictions: Predictions, batch: Batch, *, ab: jax.Array, class_weights: jax.Array, encoding_sigma: float
) -> dict[str, jax.Array]:
    """Returns the loss of every branch that the network has, by the branch's name."""
    terms = {}
    if predictions.color_logits is not None:
        target = soft_encode(ab, sigma=encoding_sigma)
        terms["soft"] = losses.soft_encoding_loss(predictions.color_logits, target, class_weights=class_weights)
    if predictions.ab is not None:
        terms["reg"] = losses.regression_loss(predictions.ab, ab)
    if predictions.scene_logits is not None:
        terms["scene"] = losses.scene_loss(
            predictions.scene_logits, index=batch["scene_index"], prob=batch["scene_prob"]
        )
    if predictions.seg_logits is not None:
        terms["seg"] = losses.softmax_dice_loss(predictions.seg_logits, batch["labels"])
    return terms


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    loss_config: Mapping[str, float],
    class_weights: np.ndarray,
    seed: int,
) -> TrainStep:
    """Builds the jitted step.

    The state is donated: the caller's old state must not be used again. Randomness inside the network is a function
    of (seed, step) alone, so a resumed run repeats the uninterrupted one. A batch sharded over a mesh gives the same
    numbers as on one device, because all means and statistics are over the global batch.

    Args:
      model: called as `model.apply(variables, lightness, train=True)`, returns `Predictions`.
      optimizer: its update takes the joint loss as `value`.
      loss_config: `config.loss`, the weights alpha_1 .. alpha_4 by branch name and `encoding_sigma`.
      class_weights: (313,) rebalancing weights (eq. 12).
      seed: of the run.

    Returns:
      step(state, batch) -> (state, metrics); metrics are float32 scalars: "loss", each branch's own, "grad_norm" and
      "learning_rate".
    """
    key = jax.random.key(seed)
    weights_of_bins = jnp.asarray(class_weights, jnp.float32)

    def step(state: TrainState, batch: Batch):
        lab = rgb_to_lab(batch["image"])
        lightness, ab = lab[..., :1], lab[..., 1:]

        def objective(params):
            predictions, updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                lightness,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.fold_in(key, state.step)},
            )
            terms = loss_terms(
                predictions,
                batch,
                ab=ab,
                class_weights=weights_of_bins,
                encoding_sigma=loss_config["encoding_sigma"],
            )
            loss = losses.joint_loss(terms, weights=loss_config)
            return loss, (terms, updated.get("batch_stats", state.batch_stats))

        (loss, (terms, batch_stats)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=loss)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        metrics = {
            "loss": loss,
            **terms,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": optax.tree.get(opt_state, "learning_rate"),
        }
        return new_state, metrics

    return jax.jit(step, donate_argnums=0)
