"""Each comparison method learns: 200 steps of its `runlocal` config on crops of the embedded photos."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.baselines.registry import method_names
from semcolor_jax.data import embedded
from semcolor_jax.training.optimizer import build_optimizer, total_steps
from semcolor_jax.training.state import create_state
from semcolor_jax.training.step import make_train_step

CONFIGS = Path(__file__).parents[2] / "configs"
STEPS, BATCH, SIDE = 200, 4, 32


def runlocal(method):
    spec = importlib.util.spec_from_file_location(method, CONFIGS / f"{method}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config("runlocal")


def crops(seed):
    """Yields batches of random crops; a photo's scene is its number, which stands for a label."""
    rng = np.random.default_rng(seed)
    photos = [sample.image for sample in embedded.photos()]
    while True:
        chosen = rng.integers(len(photos), size=BATCH)
        corners = [[rng.integers(side - SIDE + 1) for side in photos[i].shape[:2]] for i in chosen]
        yield {
            "image": np.stack(
                [photos[i][y : y + SIDE, x : x + SIDE] for i, (y, x) in zip(chosen, corners, strict=True)]
            ),
            "labels": np.full((BATCH, SIDE, SIDE), 255, np.uint8),
            "scene_index": np.stack([chosen + k for k in range(5)], axis=1).astype(np.int32),
            "scene_prob": np.tile(np.array([1, 0, 0, 0, 0], np.float32), (BATCH, 1)),
        }


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({*method_names()} - {"semcolor"}))
def test_200_steps_on_photos_lower_every_loss(method):
    config = runlocal(method)
    assert total_steps(config, steps_per_epoch=1) == STEPS
    config.model.width, config.model.global_side = 4, SIDE
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=1)
    state = create_state(init_variables(model, jax.random.key(0, impl="rbg"), config=config), optimizer)
    step = make_train_step(
        model, optimizer, loss_config=config.loss, rebalancing=np.ones(313, np.float32), seed=0, method=method
    )
    history = []
    for _, batch in zip(range(STEPS), crops(seed=1), strict=False):
        state, metrics = step(state, batch)
        history.append(metrics)
    terms = {name for name in history[0] if name not in ("grad_norm", "learning_rate", "skipped", "skipped_in_a_row")}
    for name in terms:
        values = np.array([float(metrics[name]) for metrics in history])
        assert np.all(np.isfinite(values))
        assert values[-50:].mean() < values[:20].mean(), name
    assert int(state.step) == STEPS
