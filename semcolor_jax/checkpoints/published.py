"""Converts the published weights of a comparison method to a released model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.published import load_published
from semcolor_jax.baselines.registry import checked, default_config
from semcolor_jax.checkpoints.releases import save_release
from semcolor_jax.errors import UserError
from semcolor_jax.models.layers import STRIDE


def convert(method: str, file: Path, output: Path) -> None:
    """Writes the weights of a published file as a released model in float32.

    The config's data are the embedded photos, for a first evaluation; give others with --config.

    Raises:
      UserError: the file cannot be read or does not fit the method, or `output` exists.
    """
    if output.exists():
        raise UserError(f"{output} exists already: remove it, or name another folder.")
    weights = load_published(method, file)
    config = default_config(method)
    config.name = f"{method}_published"
    config.data.source = "embedded"
    config.update_from_flattened_dict(dict(weights.settings))
    config = checked(config)
    variables = {"params": weights.params, "batch_stats": weights.batch_stats}
    _check_shapes(variables, config=config, file=file)
    save_release(variables, output, config=config, bits=32)


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
