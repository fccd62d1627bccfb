"""Finds a model by name or path and opens it; every command uses this."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from semcolor_jax.baselines.build import build_to_run
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.ranking import BEST, LATEST
from semcolor_jax.checkpoints.releases import holds_release, load_release
from semcolor_jax.checkpoints.trained_part import load_trained
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

RELEASES = Path(__file__).parents[1] / "weights"
"""The released models that come with the package."""

DEFAULT_MODEL = "semcolor-v1.1"
"""The default model of the commands and `semcolor_jax.load`."""


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A network with its weights, and their origin."""

    config: ConfigDict
    model: nn.Module
    variables: dict[str, Any]  # "params" and "batch_stats", float32
    path: Path
    step: int | None  # of a training; None for weights only
    origin: str  # "step 3000 (best by psnr) of runs/full", or the path

    @property
    def name(self) -> str:
        """The name of the folder, or of the file of weights without its suffix."""
        return model_name(self.path)


def open_model(name: str | os.PathLike[str], *, checkpoint: str | int = BEST) -> OpenedModel:
    """Opens the model that `find_model` finds, and logs which weights it has.

    Args:
      name: of a released model, or a path.
      checkpoint: for a training: "best", for use; "latest", to continue from; or a step. See `read_checkpoint`.

    Raises:
      UserError: there is no such model or checkpoint, or it is damaged.
    """
    path = find_model(name)
    if not is_release(path):
        # Imported here, as in the modules below: orbax takes 0.25 s to import, and releases do not need it.
        from semcolor_jax.checkpoints.training_runs import read_checkpoint

        config, restored = load_config(path), read_checkpoint(path, checkpoint=checkpoint)
        opened = OpenedModel(
            config, build_to_run(config), restored.variables, path=path, step=restored.step, origin=restored.origin
        )
    elif checkpoint not in (BEST, LATEST):
        raise UserError(f"{path} has no checkpoint {checkpoint!r}: it is weights alone, not a training.")
    else:
        config, variables = load_trained(path) if path.suffix == ".npz" else (load_config(path), load_release(path))
        opened = OpenedModel(config, build_to_run(config), variables, path=path, step=None, origin=str(path))
    logger.info("weights: %s", opened.origin)
    return opened


def model_name(path: Path) -> str:
    """Returns what a model is called: its folder's name, which may have dots, or its file's without the suffix."""
    return path.name if path.is_dir() else path.stem


def find_model(name: str | os.PathLike[str]) -> Path:
    """Returns a model's path.

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
    """Whether the model is a release (weights only) rather than the work directory of a training."""
    return path.suffix == ".npz" or holds_release(path)
