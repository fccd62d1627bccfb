"""The two-stage learning rate over a run whose length changes while it runs."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from semcolor_jax.config import default, validate
from semcolor_jax.errors import UserError
from semcolor_jax.training.horizon import horizon_learning_rate, rate_at, with_horizon
from semcolor_jax.training.optimizer import build_optimizer


@pytest.fixture
def schedule():
    config = default()
    config.schedule.update(dict(kind="horizon", steps_total=101, horizon_warmup=4, horizon_stage1=0.5))
    return config.schedule


def test_warm_up_then_stage_1_then_half_a_cycle_to_the_lowest_rate(schedule):
    rates = np.array([rate_at(done, 101, schedule=schedule) for done in range(101)])
    np.testing.assert_allclose(rates[:4], schedule.stage1_rate * np.array([0.25, 0.5, 0.75, 1]), rtol=1e-6)
    np.testing.assert_allclose(rates[4:50], schedule.stage1_rate, rtol=1e-6)
    np.testing.assert_allclose(rates[50:], np.linspace(schedule.cycle_high, schedule.cycle_low, 51), rtol=1e-4)


def test_one_and_a_half_cycles_touch_the_lowest_rate_twice(schedule):
    schedule.horizon_cycles = 1.5
    rates = np.array([rate_at(done, 601, schedule=schedule) for done in range(300, 602)])
    np.testing.assert_allclose(rates[[100, 300, 301]], schedule.cycle_low, rtol=1e-3)  # 301: beyond the end
    np.testing.assert_allclose(rates[[0, 200]], schedule.cycle_high, rtol=1e-3)


def test_a_new_horizon_moves_the_rest_of_the_run_and_nothing_else(schedule):
    optimizer = optax.chain(optax.scale_by_adam(), horizon_learning_rate(schedule))
    params = {"w": jnp.ones(3)}
    state = optimizer.init(params)
    for _ in range(60):
        _, state = optimizer.update({"w": jnp.ones(3)}, state, params)
    longer = with_horizon(state, 1001)
    _, before = optimizer.update({"w": jnp.ones(3)}, state, params)
    _, after = optimizer.update({"w": jnp.ones(3)}, longer, params)
    assert float(optax.tree.get(before, "learning_rate")) < schedule.cycle_high  # stage 2 of the short run
    np.testing.assert_allclose(optax.tree.get(after, "learning_rate"), schedule.stage1_rate, rtol=1e-6)
    assert int(optax.tree.get(after, "updates")) == 61


def test_the_optimizer_of_the_config_takes_the_joint_loss_like_every_other(schedule):
    config = default()
    config.schedule = schedule
    optimizer = build_optimizer(config, steps_per_epoch=7)
    params = {"decoder": {"kernel": jnp.ones((2, 2))}}
    updates: Any
    updates, _ = optimizer.update(params, optimizer.init(params), params, value=jnp.ones(()))
    np.testing.assert_allclose(updates["decoder"]["kernel"], -schedule.stage1_rate / 4, rtol=1e-4)


@pytest.mark.parametrize(
    ("field", "value"), [("horizon_cycles", 1.0), ("horizon_cycles", 0.0), ("horizon_stage1", 1.0), ("steps_total", 0)]
)
def test_a_schedule_without_an_end_at_the_lowest_rate_is_refused(schedule, field, value):
    config = default()
    config.schedule = schedule
    config.schedule[field] = value
    with pytest.raises(UserError, match=field):
        validate(config)
