"""The validation's losses: those of the whole set, with fixed weights, whatever the batches."""

import jax
import numpy as np
import pytest
from tiny_training import MemorySource

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.losses.paper import semcolor
from semcolor_jax.training.validation import make_loss_step, validation_losses


@pytest.fixture(scope="module")
def loss_step_and_variables():
    from semcolor_jax.config import default

    config = default()
    config.model.width, config.model.scene_features, config.model.variant = 2, 4, "clasregsoft"
    model = build_model(config)
    variables = init_variables(model, jax.random.key(0), config=config)
    step = make_loss_step(model, semcolor, loss_config=config.loss, rebalancing=np.ones(313), seed=0)
    return step, variables


def test_losses_are_means_over_photos_however_they_are_batched(loss_step_and_variables):
    step, variables = loss_step_and_variables
    source = MemorySource(5, side=20)
    samples = [
        source.read(index) for index in range(0, 5, 2)
    ]  # those with a scene, over whose photos the mean is taken
    by_two = validation_losses(step, variables, samples, batch_size=2, size=16)
    one_by_one = [validation_losses(step, variables, [sample], batch_size=2, size=16) for sample in samples]
    assert by_two.keys() == {"loss", "soft", "reg", "scene"}
    for name, value in by_two.items():
        assert value == pytest.approx(np.mean([losses[name] for losses in one_by_one]), rel=1e-4), name
    assert by_two["loss"] == pytest.approx(by_two["soft"] + by_two["reg"] + by_two["scene"], rel=1e-5)


def test_nothing_of_the_network_changes_and_the_losses_repeat(loss_step_and_variables):
    step, variables = loss_step_and_variables
    before = jax.tree.map(np.array, variables)
    samples = [MemorySource(3, side=20).read(1)]
    first, second = (validation_losses(step, variables, samples, batch_size=2, size=16) for _ in range(2))
    assert first == second
    jax.tree.map(np.testing.assert_array_equal, variables, before)
