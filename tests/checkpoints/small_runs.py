"""Work directories made without training: checkpoints of a network of a few weights."""

import jax
import jax.numpy as jnp
import numpy as np

from semcolor_jax.baselines.build import build_model
from semcolor_jax.checkpoints.configs import save_config
from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition
from semcolor_jax.config import default
from semcolor_jax.training.state import TrainState


def small_config():
    config = default()
    config.model.width, config.model.scene_features, config.data.source = 2, 4, "embedded"
    return config


def state_of(step):
    """A state in which every number is the step."""
    params = {"conv": {"kernel": jnp.full((3, 3, 1, 4), float(step)), "bias": jnp.full(4, float(step))}}
    return TrainState(step=jnp.asarray(step, jnp.int32), params=params, batch_stats={}, opt_state=())


def position_of(step):
    return DataPosition(step=step, seed=0, batch_size=8, source="embedded", samples=16)


def save_steps(workdir, scores, **options):
    """Saves one checkpoint for each step of `scores`, whose value is the metrics of its evaluation or None."""
    manager = Checkpoints(workdir, **options)
    for step, metrics in scores.items():
        manager.save(state_of(step), position_of(step), metrics=metrics)
    manager.close()
    save_config(workdir, small_config())


def steps_of(workdir):
    return {int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()}


def step_in(variables):
    """Which step's state the variables are from."""
    return int(np.asarray(variables["params"]["conv"]["bias"])[0])


def random_variables(config, seed=0):
    """Variables of the config's network, drawn at random; nothing is compiled."""
    model, rng = build_model(config), np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False))
    return jax.tree.map(lambda array: rng.normal(0, 0.1, array.shape).astype(np.float32) ** 2, dict(shapes))


def made_up_training(workdir, config, *, backbone=None):
    """Writes a work directory whose only checkpoint, of step 4, holds random weights, and returns these."""
    variables = random_variables(config)
    if backbone:
        variables["params"]["backbone"] |= backbone
    manager = Checkpoints(workdir)
    state = TrainState(
        step=jnp.asarray(4, jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=(),
    )
    manager.save(state, position_of(4), metrics={"psnr": 20.0})
    manager.close()
    save_config(workdir, config)
    return variables
