"""From a work directory to something that colours: the other end of `training.checkpoints`."""

from __future__ import annotations

import os
from pathlib import Path

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictor, build_model
from semcolor_jax.training.checkpoints import load_config, restore_variables
from semcolor_jax.training.weights import load_release

RELEASES = Path(__file__).parents[2] / "checkpoints"
"""Where the released models lie in a clone of the repository."""


def find_model(name: str | os.PathLike[str]) -> Path:
    """Returns the folder of a released model ("semcolor-v1"), or of a path to one or to a work directory.

    Raises:
      UserError: there is no such folder.
    """
    for folder in (Path(name), RELEASES / name):
        if (folder / "config.json").is_file():
            return folder
    released = ", ".join(sorted(path.parent.name for path in RELEASES.glob("*/config.json"))) or "none here"
    raise UserError(
        f"There is no model {os.fspath(name)!r}: give the folder of a training (its --workdir) or a released model "
        f"({released})."
    )


def load_predictor(workdir: Path) -> Predictor:
    """Restores a released model, or the newest checkpoint of a work directory, as a compiled network.

    Raises:
      UserError: the directory holds no finished checkpoint.
    """
    released = (workdir / "weights").is_dir()
    variables = load_release(workdir) if released else restore_variables(workdir)
    return Predictor(build_model(load_config(workdir)), variables)


def load_colorizer(workdir: Path) -> Colorizer:
    """Restores a released model or the newest checkpoint as a `Colorizer` with its own inference settings.

    Raises:
      UserError: the directory holds no finished checkpoint.
    """
    settings = load_config(workdir).inference
    return Colorizer(
        load_predictor(workdir),
        side=settings.side,
        choice=ColorChoice(
            settings.branch,
            temperature=settings.temperature,
            share=settings.share,
            saturation=settings.saturation,
        ),
    )
