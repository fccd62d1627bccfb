"""From the published weights of a comparison method to a work directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.published import load_published
from semcolor_jax.baselines.registry import checked, default_config
from semcolor_jax.checkpoints.configs import save_config
from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition
from semcolor_jax.errors import UserError
from semcolor_jax.models.layers import STRIDE
from semcolor_jax.training.state import TrainState


def convert(method: str, file: Path, workdir: Path) -> None:
    """Writes config.json and a checkpoint of step 0 with the weights of a published file.

    The config's data are the embedded photos, for a first evaluation; give others with --config.

    Raises:
      UserError: the file cannot be read or does not fit the method, or the work directory is in use.
    """
    if (workdir / "checkpoints").exists() or (workdir / "config.json").exists():
        raise UserError(f"{workdir} is in use already: give a new work directory with --output.")
    weights = load_published(method, file)
    config = default_config(method)
    config.name = f"{method}_published"
    config.data.source = "embedded"
    config.update_from_flattened_dict(dict(weights.settings))
    config = checked(config)
    variables = {"params": weights.params, "batch_stats": weights.batch_stats}
    _check_shapes(variables, config=config, file=file)
    _save(variables, workdir)
    save_config(workdir, config)


def _check_shapes(variables: dict[str, Any], *, config: ConfigDict, file: Path) -> None:
    model = build_model(config)
    lightness = jnp.zeros((1, STRIDE, STRIDE, 1))
    wanted = _shapes(jax.eval_shape(lambda key: model.init(key, lightness, train=False), jax.random.key(0)))
    found = _shapes(variables)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"{file} does not fit {config.model.method}: {name} has the shape {found.get(name)}, but the network "
                f"needs {wanted.get(name)}."
            )


def _shapes(variables: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {"/".join(key.key for key in path): tuple(leaf.shape) for path, leaf in leaves}


def _save(variables: dict[str, Any], workdir: Path) -> None:
    state = TrainState(step=jnp.zeros((), jnp.int32), opt_state=(), **variables)
    position = DataPosition(step=0, seed=0, batch_size=0, source="published weights", samples=0)
    manager = Checkpoints(workdir)
    try:
        manager.save(state, position)
    finally:
        manager.close()
