"""From a work directory to something that colours: the other end of `training.checkpoints`."""

from __future__ import annotations

from pathlib import Path

from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictor, build_model
from semcolor_jax.training.checkpoints import load_config, restore_variables


def load_predictor(workdir: Path) -> Predictor:
    """Restores the newest checkpoint of a work directory as a compiled network.

    Raises:
      UserError: the directory holds no finished checkpoint.
    """
    return Predictor(build_model(load_config(workdir)), restore_variables(workdir))


def load_colorizer(workdir: Path) -> Colorizer:
    """Restores the newest checkpoint as a `Colorizer` with the inference settings it was trained with.

    Raises:
      UserError: the directory holds no finished checkpoint.
    """
    settings = load_config(workdir).inference
    return Colorizer(
        load_predictor(workdir),
        side=settings.side,
        temperature=settings.temperature,
        branch=settings.branch,
    )
