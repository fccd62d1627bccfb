"""Image colorization from scene context and pixel-wise segmentation (Nguyen-Quynh et al., IEEE Access 2020)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semcolor_jax.inference.colorize import Colorizer

__version__ = "0.2.0"


def load(model: str | os.PathLike[str] | None = None, *, checkpoint: str | int = "best") -> Colorizer:
    """Returns a trained network, ready to colour: `load().colorize("old.jpg").save("new.jpg")`.

    Args:
      model: the name of a released model, the work directory of a training, or a file of trained weights; by default
        the one that the commands use (`checkpoints.models.DEFAULT_MODEL`).
      checkpoint: for a training: "best", "latest" or a step.

    Raises:
      UserError: there is no such model or checkpoint, or it is damaged.
    """
    from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer  # imports JAX

    return load_colorizer(DEFAULT_MODEL if model is None else model, checkpoint=checkpoint)
