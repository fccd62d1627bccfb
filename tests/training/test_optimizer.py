"""Both stages of the learning-rate scheme on a simulated run, and the optimizers' first updates by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from semcolor_jax.config import default
from semcolor_jax.training.optimizer import build_optimizer, observe_validation, total_steps, triangular

STEPS_PER_EPOCH = 10


def simulate(config, losses):
    """Returns the learning rate of each update when the training loss, which is watched, runs through `losses`."""
    config.schedule.plateau_monitor = "train"
    optimizer = build_optimizer(config, steps_per_epoch=STEPS_PER_EPOCH)
    params = {"w": jnp.zeros(2)}

    @jax.jit
    def update(state, loss):
        _, state = optimizer.update({"w": jnp.ones(2)}, state, params, value=loss)
        return state, optax.tree.get(state, "learning_rate")

    state, rates = optimizer.init(params), []
    for loss in losses:
        state, rate = update(state, jnp.asarray(loss, jnp.float32))
        rates.append(float(rate))
    return np.array(rates)


def test_stage_one_decays_only_after_five_stale_epochs():
    config = default()
    config.schedule.stage1_epochs = 100
    improving = np.repeat([5.0, 4.0, 3.0], STEPS_PER_EPOCH)
    stale = np.full(12 * STEPS_PER_EPOCH, 3.0)
    rates = simulate(config, np.concatenate([improving, stale]))
    epochs = rates.reshape(-1, STEPS_PER_EPOCH)
    assert np.allclose(epochs, epochs[:, :1])  # constant within an epoch
    by_epoch = epochs[:, 0]
    # Epoch 2 brought the best loss. Epochs 3..7 are five stale ones, so epoch 8 is the first with 0.95; five more
    # stale ones, 8..12, and epoch 13 has 0.95^2.
    np.testing.assert_allclose(by_epoch[:8], 4e-4, rtol=1e-6)
    np.testing.assert_allclose(by_epoch[8:13], 4e-4 * 0.95, rtol=1e-6)
    np.testing.assert_allclose(by_epoch[13:], 4e-4 * 0.95**2, rtol=1e-6)


def test_an_improving_loss_keeps_the_rate():
    config = default()
    config.schedule.stage1_epochs = 100
    rates = simulate(config, np.repeat(np.linspace(5.0, 1.0, 20), STEPS_PER_EPOCH))
    np.testing.assert_allclose(rates, 4e-4, rtol=1e-6)


def simulate_validation(config, losses):
    """Returns the learning rate of each epoch when the validation loss runs through `losses`.

    The training loss falls all the while.
    """
    optimizer = build_optimizer(config, steps_per_epoch=STEPS_PER_EPOCH)
    params = {"backbone": {"conv1_1": jnp.zeros(2)}, "head": {"kernel": jnp.zeros((2, 2))}}
    gradients = jax.tree.map(jnp.ones_like, params)
    update = jax.jit(lambda state, loss: optimizer.update(gradients, state, params, value=loss)[1])
    state, rates, falling = optimizer.init(params), [], 100.0
    for loss in losses:
        for _ in range(STEPS_PER_EPOCH):
            falling *= 0.99
            state = update(state, jnp.asarray(falling, jnp.float32))
        rates.append(float(optax.tree.get(state, "learning_rate")))
        state = observe_validation(state, jnp.asarray(loss, jnp.float32), schedule=config.schedule)
    return np.array(rates)


@pytest.mark.parametrize("frozen_blocks", [0, 1])
def test_the_plateau_watches_the_validation_loss_as_keras_does(frozen_blocks):
    config = default()
    config.model.frozen_blocks = frozen_blocks  # nests the scheme's state one level deeper
    config.schedule.stage1_epochs = 100
    losses = [5.0, 4.0, 3.0, *[3.0] * 11, 2.0, 2.0]
    rates = simulate_validation(config, losses)
    expected, best, stale, rate = [], np.inf, 0, 4e-4
    for loss in losses:  # keras.callbacks.ReduceLROnPlateau, on_epoch_end
        expected.append(rate)
        if loss < best - 1e-4:
            best, stale = loss, 0
        elif (stale := stale + 1) >= 5:
            rate, stale = rate * 0.95, 0
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates[-1] == pytest.approx(4e-4 * 0.95**2)


def test_plateaus_of_the_validation_loss_begin_stage_two_and_then_change_nothing():
    config = default()
    config.schedule.stage1_epochs = 100
    config.schedule.max_plateaus = 1
    rates = simulate_validation(config, [1.0] * 24)
    np.testing.assert_allclose(rates[:6], 4e-4, rtol=1e-6)
    # The rate of an epoch's last update: the cycle begins with epoch 6, falls for four epochs and rises again.
    assert np.all(np.diff(rates[6:10]) < 0)
    np.testing.assert_allclose(rates[6:14], rates[14:22], rtol=1e-5)


def test_stage_two_is_triangular_between_its_bounds_with_a_period_of_eight_epochs():
    config = default()
    config.schedule.stage1_epochs = 2
    rates = simulate(config, np.full(26 * STEPS_PER_EPOCH, 1.0))
    np.testing.assert_allclose(rates[:20], 4e-4, rtol=1e-6)
    cycle = rates[20:]
    period = 8 * STEPS_PER_EPOCH
    for start in (0, period, 2 * period):
        assert cycle[start] == pytest.approx(8e-4, rel=1e-5)
        assert cycle[start + period // 4] == pytest.approx((8e-4 + 1e-5) / 2, rel=1e-5)
        assert cycle[start + period // 2] == pytest.approx(1e-5, rel=1e-4)
    np.testing.assert_allclose(cycle[:period], cycle[period : 2 * period], rtol=1e-5)
    assert cycle.min() >= 1e-5 * 0.999
    assert cycle.max() <= 8e-4 * 1.001


def test_stage_two_begins_early_after_max_plateaus():
    config = default()
    config.schedule.stage1_epochs = 100
    config.schedule.max_plateaus = 2
    rates = simulate(config, np.full(15 * STEPS_PER_EPOCH, 1.0))
    by_epoch = rates[::STEPS_PER_EPOCH]
    # Epoch 0 sets the best loss; epochs 1..5 and 6..10 are stale: the second reduction comes at the end of epoch 10.
    np.testing.assert_allclose(by_epoch[:6], 4e-4, rtol=1e-6)
    np.testing.assert_allclose(by_epoch[6:11], 4e-4 * 0.95, rtol=1e-6)
    assert by_epoch[11] == pytest.approx(8e-4, rel=1e-5)
    assert by_epoch[13] == pytest.approx(8e-4 + (1e-5 - 8e-4) * 0.5, rel=1e-4)  # a quarter period: half way down


def test_triangular_by_hand():
    values = [float(triangular(count, high=3.0, low=1.0, period=4)) for count in range(6)]
    assert values == pytest.approx([3.0, 2.0, 1.0, 2.0, 3.0, 2.0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", 4e-4),  # m/sqrt(v) with bias correction: the sign of the gradient
        ("rmsprop", 4e-4 / np.sqrt(0.1)),  # v = 0.1 g^2 after one update
        ("sgd", 4e-4 * 2.0),
    ],
)
def test_first_update_by_hand(name, expected):
    config = default()
    config.optimizer.name = name
    optimizer = build_optimizer(config, steps_per_epoch=10)
    params = {"w": jnp.zeros(())}
    updates: Any
    updates, _ = optimizer.update({"w": jnp.asarray(2.0)}, optimizer.init(params), params, value=jnp.asarray(1.0))
    assert float(updates["w"]) == pytest.approx(-expected, rel=1e-3)


def test_clipping_bounds_the_gradient_norm():
    config = default()
    config.optimizer.name = "sgd"
    config.optimizer.clip_norm = 1.0
    optimizer = build_optimizer(config, steps_per_epoch=10)
    params = {"w": jnp.zeros(2)}
    updates: Any
    updates, _ = optimizer.update(
        {"w": jnp.array([30.0, 40.0])}, optimizer.init(params), params, value=jnp.asarray(1.0)
    )
    np.testing.assert_allclose(updates["w"], [-4e-4 * 0.6, -4e-4 * 0.8], rtol=1e-5)


def test_total_steps_counts_both_stages():
    config = default()
    config.schedule.stage1_epochs, config.schedule.stage2_epochs = 3, 2
    assert total_steps(config, steps_per_epoch=7) == 35


def test_steps_fall_at_the_given_updates():
    config = default()
    config.schedule.update({"kind": "steps", "steps_rate": 0.5, "steps_factor": 0.1, "steps_at": (3, 5)})
    config.schedule.steps_total = 8
    rates = simulate(config, np.ones(8))
    np.testing.assert_allclose(rates, [0.5] * 3 + [0.05] * 2 + [0.005] * 3, rtol=1e-6)
    assert total_steps(config, steps_per_epoch=3) == 8


def test_weight_decay_is_part_of_the_gradient_and_spares_biases():
    config = default()
    config.optimizer.update({"name": "sgd", "momentum": 0.0, "weight_decay": 0.1})
    config.schedule.update({"kind": "steps", "steps_rate": 1.0, "steps_total": 1})
    optimizer = build_optimizer(config, steps_per_epoch=1)
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    gradient = jax.tree.map(jnp.ones_like, params)
    updates: Any
    updates, _ = optimizer.update(gradient, optimizer.init(params), params, value=jnp.ones(()))
    np.testing.assert_allclose(updates["kernel"], -(1 + 0.1 * 3.0), rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], -1.0, rtol=1e-6)


def test_adam_takes_its_second_decay_from_the_config():
    """Two gradients, 1 and 0: m = 0.1 x 0.9 / (1 - 0.81), v = 0.01 x 0.99 / (1 - 0.9801)."""
    config = default()
    config.optimizer.beta2 = 0.99
    config.schedule.update({"kind": "steps", "steps_rate": 1.0, "steps_total": 2})
    optimizer = build_optimizer(config, steps_per_epoch=1)
    params = {"w": jnp.zeros(1)}
    updates: Any = {}
    state = optimizer.init(params)
    for gradient in (1.0, 0.0):
        updates, state = optimizer.update({"w": jnp.full(1, gradient)}, state, params, value=jnp.ones(()))
    expected = (0.09 / 0.19) / np.sqrt(0.0099 / 0.0199)
    np.testing.assert_allclose(updates["w"], -expected, rtol=1e-5)


def test_adadelta_by_hand():
    """The first update is sqrt(eps) / sqrt(0.05 g^2 + eps) g."""
    config = default()
    config.optimizer.name = "adadelta"
    config.schedule.update({"kind": "steps", "steps_rate": 1.0, "steps_total": 1})
    optimizer = build_optimizer(config, steps_per_epoch=1)
    params = {"w": jnp.zeros(1)}
    updates: Any
    updates, _ = optimizer.update({"w": jnp.full(1, 2.0)}, optimizer.init(params), params, value=jnp.ones(()))
    np.testing.assert_allclose(updates["w"], -2 * np.sqrt(1e-6 / (0.05 * 4 + 1e-6)), rtol=1e-4)
