"""What colouring must not import: it would double the start-up time and the memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from semcolor_jax.baselines.build import build_model
from semcolor_jax.checkpoints.configs import save_config
from semcolor_jax.checkpoints.releases import export_release
from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition
from semcolor_jax.config import default
from semcolor_jax.training.state import TrainState

ROOT = Path(__file__).parents[2]
HEAVY = (
    "tensorflow",
    "tensorflow_datasets",
    "clu",
    "optax",
    "torch",
    "skimage",
    "sklearn",
    "scipy",
    "matplotlib",
)
ORBAX = "orbax.checkpoint"  # reads checkpoints of trainings; released models do without it

COMMAND = """
from semcolor_jax.cli.main import main
main(["colorize", "photo.png", "-o", "out", "--model", {model!r}])
"""
LOAD = """
import numpy as np, semcolor_jax
photo = semcolor_jax.load({model!r})(np.zeros((20, 30, 3), np.uint8)).rgb
assert photo.shape == (20, 30, 3)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A work directory `training` and the released form `released` of one small network, and a photo."""
    folder = tmp_path_factory.mktemp("models")
    config = default()
    config.model.width, config.model.scene_features, config.data.source = 2, 4, "embedded"
    model = build_model(config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False))
    variables = jax.tree.map(lambda array: np.full(array.shape, 0.01, np.float32), dict(shapes))
    manager = Checkpoints(folder / "training")
    manager.save(
        TrainState(step=jnp.zeros((), jnp.int32), opt_state=(), **variables),
        DataPosition(step=0, seed=0, batch_size=1, source="embedded", samples=1),
    )
    manager.close()
    save_config(folder / "training", config)
    export_release(folder / "training", folder / "released")
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(folder / "photo.png")
    return folder


@pytest.mark.parametrize("program", [COMMAND, LOAD])
@pytest.mark.parametrize("model", ["training", "released"])
def test_colouring_imports_nothing_of_the_training(folder, program, model):
    forbidden = (*HEAVY, ORBAX) if model == "released" else HEAVY
    found = f"import json, sys; print(json.dumps([m for m in {forbidden} if m in sys.modules]))"
    script = program.format(model=model) + found
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "SEMCOLOR_COMPILE_CACHE": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []
