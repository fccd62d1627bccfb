"""From weights on disk to something that colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from semcolor_jax.baselines.build import build_model
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.releases import load_release
from semcolor_jax.checkpoints.trained_part import load_trained
from semcolor_jax.checkpoints.training_runs import restore_variables
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictor

RELEASES = Path(__file__).parents[1] / "weights"
"""The released models that come with the package."""


DEFAULT_MODEL = "semcolor-v1"
"""What the commands and `semcolor_jax.load` colour with, unless told otherwise."""


def find_model(name: str | os.PathLike[str]) -> Path:
    """Returns where a model lies.

    Args:
      name: of a released model, such as `DEFAULT_MODEL`; or a path to a released model, to the work directory of a
        training, or to a file of trained weights (`.npz`).

    Raises:
      UserError: there is no such model.
    """
    for path in (Path(name), RELEASES / name):
        if (path / "config.json").is_file() or (path.suffix == ".npz" and path.is_file()):
            return path
    released = sorted(path.parent.name for path in RELEASES.glob("*/config.json"))
    raise UserError(
        f"There is no model {os.fspath(name)!r}: give the folder of a training (its --workdir) or a released model "
        f"({', '.join(released) or 'none here'})."
    )


def is_release(path: Path) -> bool:
    """Whether `find_model` found weights alone, and not the work directory of a training."""
    return path.suffix == ".npz" or (path / "weights").is_dir()


def load_predictor(path: Path) -> Predictor:
    """Restores a model that `find_model` found as a compiled network.

    Raises:
      UserError: a work directory holds no finished checkpoint; weights cannot be read.
    """
    return Predictor(*_restore(path)[1:])


def load_colorizer(path: Path) -> Colorizer:
    """Restores a model that `find_model` found as a `Colorizer` with its own inference settings.

    Raises:
      UserError: a work directory holds no finished checkpoint; weights cannot be read.
    """
    config, model, variables = _restore(path)
    settings = config.inference
    choice = ColorChoice(
        settings.branch, temperature=settings.temperature, share=settings.share, saturation=settings.saturation
    )
    return Colorizer(Predictor(model, variables), side=settings.side, choice=choice)


def _restore(path: Path) -> tuple[ConfigDict, nn.Module, dict[str, Any]]:
    if path.suffix == ".npz":
        config, variables = load_trained(path)
    else:
        config = load_config(path)
        variables = load_release(path) if is_release(path) else restore_variables(path)
    return config, build_model(config), variables
