"""Initialises a training from the weights of another one: `config.train.start_from`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from semcolor_jax.checkpoints.compact import Arrays
from semcolor_jax.checkpoints.models import open_model
from semcolor_jax.checkpoints.ranking import LATEST
from semcolor_jax.checkpoints.trained_part import Variables, read_trained
from semcolor_jax.errors import UserError


def start_from(variables: Variables, path: Path, *, config: ConfigDict) -> Variables:
    """Returns freshly initialised variables, replaced by those of another training.

    Args:
      variables: "params" and "batch_stats" of the network that `config` describes; those that the other lacks stay.
      path: a file that `save_trained` wrote; or a work directory, for its newest (averaged) weights, or a release.
      config: the new training's.

    Raises:
      UserError: `path` cannot be read, belongs to another network, or has arrays that this one lacks.
    """
    try:
        saved, stored = _read(path)
    except UserError as error:
        raise UserError(f"config.train.start_from: {error}") from error
    arrays = flatten_dict(variables, sep="/", keep_empty_nodes=True)
    unknown = [name for name, array in stored.items() if getattr(arrays.get(name), "shape", None) != array.shape]
    if unknown:
        raise UserError(
            f"config.train.start_from: {path} belongs to another network, {saved.model.to_dict()}, than this config's, "
            f"{config.model.to_dict()}: {unknown[0]} does not fit."
        )
    return unflatten_dict(arrays | stored, sep="/")


def _read(path: Path) -> tuple[ConfigDict, Arrays]:
    if path.suffix == ".npz":
        return read_trained(path)
    opened = open_model(path, checkpoint=LATEST)
    return opened.config, cast(Arrays, flatten_dict(opened.variables, sep="/"))
