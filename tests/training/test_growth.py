"""Photos that grow during training, blocks that thaw, averaged weights, the encoder's smaller rate."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_training import stop_after

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.checkpoints.ranking import LATEST
from semcolor_jax.checkpoints.training_runs import read_checkpoint
from semcolor_jax.training import loop
from semcolor_jax.training.optimizer import build_optimizer
from semcolor_jax.training.state import average

GROWTH = 4  # steps: one epoch of eight photos in batches of two


@pytest.fixture
def growing_config(tiny_config):
    tiny_config.model.variant = "regsoft"  # the fewest branches to compile
    tiny_config.model.frozen_blocks = 5
    tiny_config.growth.epoch = 1.0
    tiny_config.data.short_side, tiny_config.data.image_size = 20, 16
    tiny_config.growth.short_side, tiny_config.growth.image_size = 40, 32
    tiny_config.growth.frozen_blocks = 3
    tiny_config.train.ema_decay = 0.9
    return tiny_config


def record_steps(monkeypatch):
    """Notes (step, side of the photos) and the parameters after every step."""
    original, seen = loop.make_train_step, []

    def make(*args, **kwargs):
        step = original(*args, **kwargs)

        def recording(state, batch):
            before = int(state.step)
            state, metrics = step(state, batch)
            seen.append((before, batch["image"].shape[1], jax.device_get(state.params["backbone"]), state.ema))
            return state, metrics

        return recording

    monkeypatch.setattr(loop, "make_train_step", make)
    return seen


def moved(before, after):
    """Returns the convolutions whose kernels differ."""
    return {
        name
        for name, layer in before.items()
        if "kernel" in layer and not np.array_equal(layer["kernel"], after[name]["kernel"])
    }


@pytest.mark.slow
def test_photos_grow_and_blocks_thaw_at_the_epoch_that_the_config_names(
    tmp_path, growing_config, memory_data, monkeypatch
):
    with monkeypatch.context() as patch:
        seen = record_steps(patch)
        state = loop.train(growing_config, tmp_path / "whole")
    assert [(step, side) for step, side, *_ in seen] == [(step, 16 if step < GROWTH else 32) for step in range(12)]

    first, before, last = (seen[i][2] for i in (0, GROWTH - 1, -1))
    assert not moved(first, before), "the whole encoder is frozen while photos are small"
    assert moved(before, last) == {"conv4_1", "conv4_2", "conv5_1", "conv5_2"}

    # What is restored for use is the average, not the last weights.
    variables = read_checkpoint(tmp_path / "whole", checkpoint=LATEST).variables
    restored = variables["params"]["decoder"]["conv1_1"]["kernel"]
    np.testing.assert_array_equal(restored, state.ema["decoder"]["conv1_1"]["kernel"])
    assert not np.array_equal(restored, state.params["decoder"]["conv1_1"]["kernel"])


def test_blocks_can_thaw_later_than_photos_grow(growing_config):
    def phases():
        found = loop._phase_configs(growing_config, steps_per_epoch=4)
        return {step: (phase.data.image_size, phase.model.frozen_blocks) for step, phase in found.items()}

    assert phases() == {0: (16, 5), 4: (32, 3)}
    growing_config.growth.thaw_epoch = 1.75
    assert phases() == {0: (16, 5), 4: (32, 5), 7: (32, 3)}
    growing_config.growth.thaw_epoch = 0.5
    assert phases() == {0: (16, 5), 4: (32, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("stop_step", [3, GROWTH])
def test_a_run_resumed_on_either_side_of_the_growth_equals_the_uninterrupted_one(
    tmp_path, growing_config, memory_data, monkeypatch, stop_step
):
    growing_config.schedule.stage1_epochs, growing_config.schedule.stage2_epochs = 2.0, 0.0
    whole = loop.train(growing_config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, stop_step)
        with pytest.raises(SystemExit):
            loop.train(growing_config, tmp_path / "parts")
    resumed = loop.train(growing_config, tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(whole), jax.device_get(resumed))


def test_the_average_follows_its_recursion():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 3)).astype(np.float32)
    ema, expected = {"w": jnp.asarray(values[0])}, values[0].astype(np.float64)
    for step, value in enumerate(values[1:]):
        ema = average(ema, {"w": jnp.asarray(value)}, step=jnp.asarray(step), decay=0.7)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(ema["w"], expected, rtol=1e-5)
    assert average({}, {"w": values[0]}, step=jnp.asarray(0), decay=0.7) == {}


def test_the_encoder_takes_smaller_steps_by_its_factor(tiny_config):
    tiny_config.optimizer.name, tiny_config.optimizer.momentum = "sgd", 0.0
    variables = init_variables(build_model(tiny_config), jax.random.key(0, impl="rbg"), config=tiny_config)
    gradient = jax.tree.map(jnp.ones_like, variables["params"])
    rates = {}
    for factor in (1.0, 0.1):
        tiny_config.optimizer.encoder_rate = factor
        optimizer = build_optimizer(tiny_config, steps_per_epoch=10)
        state = optimizer.init(variables["params"])
        updates: Any
        updates, _ = optimizer.update(gradient, state, variables["params"], value=jnp.ones(()))
        rates[factor] = {part: float(jax.tree.leaves(updates[part])[0].ravel()[0]) for part in ("backbone", "decoder")}
    assert rates[0.1]["decoder"] == rates[1.0]["decoder"] == pytest.approx(-tiny_config.schedule.stage1_rate)
    assert rates[0.1]["backbone"] == pytest.approx(0.1 * rates[1.0]["backbone"])


def test_adam_moves_a_block_that_thaws_late_as_it_moves_one_that_begins_then(tiny_config):
    """The reference is optax's Adam, begun at the thaw."""
    thaw, rng = 6, np.random.default_rng(0)
    tiny_config.model.frozen_blocks, tiny_config.growth.frozen_blocks = 5, 3
    tiny_config.growth.epoch, tiny_config.growth.thaw_epoch = 1.0, 3.0
    tiny_config.schedule.stage1_epochs = 100.0  # one rate throughout
    params = {"backbone": {"conv4_1": {"kernel": jnp.zeros(3)}}, "decoder": {"kernel": jnp.zeros(3)}}
    optimizer = build_optimizer(tiny_config, steps_per_epoch=2)
    state = optimizer.init(params)
    fresh = optax.adam(tiny_config.schedule.stage1_rate)
    fresh_state = fresh.init(params["backbone"])
    for step in range(thaw + 5):
        gradient = jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), params)
        if step < thaw:
            gradient["backbone"] = jax.tree.map(jnp.zeros_like, gradient["backbone"])
        updates: Any
        updates, state = optimizer.update(gradient, state, params, value=jnp.ones(()))
        if step >= thaw:
            expected: Any
            expected, fresh_state = fresh.update(gradient["backbone"], fresh_state)
            np.testing.assert_allclose(
                updates["backbone"]["conv4_1"]["kernel"], expected["conv4_1"]["kernel"], rtol=1e-4
            )
            magnitude = np.abs(updates["backbone"]["conv4_1"]["kernel"]).max()
            assert magnitude <= 1.01 * tiny_config.schedule.stage1_rate if step == thaw else magnitude > 0
