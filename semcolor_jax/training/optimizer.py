"""The optimizer: one optax chain that holds both stages of the paper's learning-rate scheme.

Section V.B: stage 1 starts at 4e-4 and decays by 0.95 when the monitored loss has not improved for five epochs;
stage 2 cycles between 8e-4 and 1e-5 with a period of eight epochs. Both live in one transformation whose state is
part of the optimizer state, so checkpoints carry it and the switch needs no second program.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from semcolor_jax.config import always_frozen
from semcolor_jax.errors import UserError
from semcolor_jax.models.encoders import is_frozen
from semcolor_jax.training.horizon import horizon_learning_rate


class TwoStageState(NamedTuple):
    """State of `two_stage_learning_rate`."""

    updates: jax.Array  # done so far
    stage2_start: jax.Array  # the update that stage 2 began with, -1 in stage 1
    plateaus: jax.Array  # reductions so far
    plateau: optax.contrib.ReduceLROnPlateauState
    learning_rate: jax.Array  # of the last update


def triangular(count: jax.typing.ArrayLike, *, high: float, low: float, period: int) -> jax.Array:
    """The triangular cyclic learning rate: high at 0, low at period / 2, high again at the period.

    Args:
      count: updates since the cycle began.
      high: rate at the start of each period.
      low: rate in the middle of each period.
      period: length in updates.
    """
    phase = jnp.mod(count, period) / period
    return low + (high - low) * jnp.abs(2.0 * phase - 1.0)


def two_stage_learning_rate(schedule: ConfigDict, *, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
    """Scales updates by minus the learning rate of the two-stage scheme.

    Stage 1 watches the validation loss, once an epoch, as Keras does: the loop passes it to `observe_validation`. With
    `schedule.plateau_monitor="train"` it watches the mean of an epoch's training losses, which the update takes as
    `value`; that mean falls as long as the network memorises anything, so the plateau hardly ever fires. Stage 2 begins
    after `schedule.stage1_epochs`, or as soon as the plateau has fired `schedule.max_plateaus` times (0: never early).

    Args:
      schedule: `config.schedule`.
      steps_per_epoch: updates in an epoch; patience, stages and period are counted in epochs.
    """
    watches_training = schedule.plateau_monitor == "train"
    plateau = _plateau(schedule, losses_per_epoch=steps_per_epoch if watches_training else 1)
    stage1_steps = int(schedule.stage1_epochs * steps_per_epoch)
    period = max(1, int(schedule.cycle_epochs * steps_per_epoch))

    def init(params: optax.Params) -> TwoStageState:
        return TwoStageState(
            updates=jnp.zeros((), jnp.int32),
            stage2_start=jnp.asarray(-1, jnp.int32),
            plateaus=jnp.zeros((), jnp.int32),
            plateau=cast(optax.contrib.ReduceLROnPlateauState, plateau.init(params)),
            learning_rate=jnp.zeros((), jnp.float32),
        )

    def update(updates: Any, state: TwoStageState, params: Any = None, *, value: jax.Array, **extra: Any):
        del params, extra
        enough = (schedule.max_plateaus > 0) & (state.plateaus >= schedule.max_plateaus)
        begins = (state.stage2_start < 0) & ((state.updates >= stage1_steps) | enough)
        stage2_start = jnp.where(begins, state.updates, state.stage2_start)
        in_stage2 = stage2_start >= 0

        rate = jnp.where(
            in_stage2,
            triangular(state.updates - stage2_start, high=schedule.cycle_high, low=schedule.cycle_low, period=period),
            # A reduction takes effect on the first update after its epoch.
            schedule.stage1_rate * state.plateau.scale,
        )
        new_state = state._replace(
            updates=state.updates + 1, stage2_start=stage2_start, learning_rate=rate.astype(jnp.float32)
        )
        if watches_training:
            new_state = _observe(plateau, new_state, value=value)
        return jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates), new_state

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def observe_validation(opt_state: optax.OptState, loss: jax.Array, *, schedule: ConfigDict) -> optax.OptState:
    """Passes an epoch's validation loss to the schedule, which may lower the rate of later updates.

    Args:
      opt_state: of `build_optimizer`; the schedule's state may be nested anywhere in it.
      loss: scalar.
      schedule: `config.schedule`; nothing changes unless it has two stages and `plateau_monitor` is "val".
    """
    if schedule.kind != "two_stage" or schedule.plateau_monitor != "val":
        return opt_state
    plateau = _plateau(schedule, losses_per_epoch=1)

    def observe(node: Any) -> Any:
        return _observe(plateau, node, value=loss) if isinstance(node, TwoStageState) else node

    return jax.tree.map(observe, opt_state, is_leaf=lambda node: isinstance(node, TwoStageState))


def _plateau(schedule: ConfigDict, *, losses_per_epoch: int) -> optax.GradientTransformationExtraArgs:
    return optax.contrib.reduce_on_plateau(
        factor=schedule.plateau_factor, patience=schedule.plateau_patience, accumulation_size=losses_per_epoch
    )


def _observe(
    plateau: optax.GradientTransformationExtraArgs, state: TwoStageState, *, value: jax.Array
) -> TwoStageState:
    """Passes one loss to optax's plateau detection, whose scaling of updates is unused; does nothing in stage 2."""
    _, after = plateau.update({}, cast(Any, state.plateau), value=value)
    after = cast(optax.contrib.ReduceLROnPlateauState, after)
    in_stage2 = state.stage2_start >= 0
    fired = jnp.less(after.scale, state.plateau.scale)
    return state._replace(
        plateaus=state.plateaus + jnp.where(in_stage2, 0, fired).astype(jnp.int32),
        plateau=jax.tree.map(lambda old, new: jnp.where(in_stage2, old, new), state.plateau, after),
    )


class StepsState(NamedTuple):
    """State of `stepwise_learning_rate`."""

    updates: jax.Array  # done so far
    learning_rate: jax.Array  # of the last update


def stepwise_learning_rate(schedule: ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Scales updates by minus a rate that is multiplied by `schedule.steps_factor` at each of `schedule.steps_at`."""
    rate_at = optax.piecewise_constant_schedule(
        schedule.steps_rate, {int(update): schedule.steps_factor for update in schedule.steps_at}
    )

    def init(params: optax.Params) -> StepsState:
        return StepsState(updates=jnp.zeros((), jnp.int32), learning_rate=jnp.zeros((), jnp.float32))

    def update(updates: Any, state: StepsState, params: Any = None, **extra: Any):
        del params, extra
        rate = jnp.asarray(rate_at(state.updates), jnp.float32)
        return jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates), StepsState(state.updates + 1, rate)

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def build_optimizer(config: ConfigDict, *, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
    """Returns the whole chain: optional clipping and L2 penalty, the optimizer's direction, the learning rate.

    Raises:
      UserError: the config names an unknown optimizer.
    """
    optimizer = config.optimizer
    by_name = {
        "adam": lambda: optax.scale_by_adam(b2=optimizer.beta2),
        "rmsprop": lambda: optax.scale_by_rms(decay=0.9),
        "sgd": lambda: optax.trace(decay=optimizer.momentum),
        "adadelta": lambda: optax.scale_by_adadelta(rho=0.95, eps=1e-6),
    }
    if optimizer.name not in by_name:
        raise UserError(f"config.optimizer.name is {optimizer.name!r}; known are {', '.join(by_name)}.")
    clip = [optax.clip_by_global_norm(optimizer.clip_norm)] if optimizer.clip_norm > 0 else []
    slower = [optax.masked(optax.scale(optimizer.encoder_rate), _is_encoder)] if optimizer.encoder_rate != 1 else []
    thaw = thaw_step(config, steps_per_epoch=steps_per_epoch)
    if thaw and optimizer.name == "adam":
        slower.append(_late_bias_correction(config, thaw=thaw))
    decay = [_kernel_decay(optimizer.weight_decay)] if optimizer.weight_decay > 0 else []
    rates = {
        "two_stage": lambda: two_stage_learning_rate(config.schedule, steps_per_epoch=steps_per_epoch),
        "steps": lambda: stepwise_learning_rate(config.schedule),
        "horizon": lambda: horizon_learning_rate(config.schedule),
    }
    rate = rates[config.schedule.kind]()
    trained = optax.chain(*clip, *decay, by_name[optimizer.name](), *slower, rate)
    frozen_blocks = always_frozen(config)
    if not frozen_blocks:
        return trained
    # Frozen weights need no moments: with Adam, each checkpoint would hold them three times.
    label = functools.partial(_trained_or_frozen, frozen_blocks=frozen_blocks)
    return optax.partition({"trained": trained, "frozen": optax.set_to_zero()}, label)


def thaw_step(config: ConfigDict, *, steps_per_epoch: int) -> int:
    """Returns after how many updates encoder blocks thaw (`config.growth`); 0 if none do."""
    if always_frozen(config) == config.model.frozen_blocks:
        return 0
    return round(max(config.growth.epoch, config.growth.thaw_epoch) * steps_per_epoch)


def _late_bias_correction(config: ConfigDict, *, thaw: int) -> optax.GradientTransformationExtraArgs:
    """Restarts Adam's bias correction (Kingma and Ba 2015) for blocks that thaw during training.

    Adam counts from the first update of the run. Without this, the first updates of these blocks would be several times
    the learning rate and undo what the encoder has learnt.
    """
    b1, b2 = 0.9, config.optimizer.beta2

    def factor(count: jax.typing.ArrayLike) -> jax.Array:
        done, since = jnp.asarray(count) + 1.0, jnp.maximum(jnp.asarray(count) - thaw + 1.0, 1.0)
        second = jnp.sqrt((1 - b2**since) / (1 - b2**done))
        return second * (1 - b1**done) / (1 - b1**since)

    def thaws(params: Any) -> Any:
        first = _trained_or_frozen(params, frozen_blocks=config.model.frozen_blocks)
        return jax.tree.map(lambda label: label == "frozen", first)

    return optax.masked(optax.scale_by_schedule(factor), thaws)


def _is_encoder(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: str(getattr(path[0], "key", path[0])) == "backbone", params)


def _kernel_decay(strength: float) -> optax.GradientTransformation:
    """Adds the gradient of an L2 penalty, before any scaling as in Caffe; biases and normalisations have none."""
    return optax.add_decayed_weights(strength, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params))


def _trained_or_frozen(params: Any, *, frozen_blocks: int) -> Any:
    """Labels every parameter "trained" or "frozen"."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        part, layer = (str(getattr(key, "key", key)) for key in path[:2])
        return "frozen" if part == "backbone" and is_frozen(layer, frozen_blocks=frozen_blocks) else "trained"

    return jax.tree_util.tree_map_with_path(label, params)


def total_steps(config: ConfigDict, *, steps_per_epoch: int) -> int:
    """Returns the length of the training in updates; a second stage that begins early is longer by as much."""
    if config.schedule.kind in ("steps", "horizon"):
        return config.schedule.steps_total
    return int((config.schedule.stage1_epochs + config.schedule.stage2_epochs) * steps_per_epoch)
