"""Loads a model's weights from disk as a `Colorizer`, ready to colour photos."""

from __future__ import annotations

import os

from ml_collections import ConfigDict

from semcolor_jax.checkpoints.models import DEFAULT_MODEL, OpenedModel, open_model
from semcolor_jax.checkpoints.ranking import BEST
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictor

__all__ = ["DEFAULT_MODEL", "color_choice", "load_colorizer", "load_predictor", "make_colorizer"]


def load_predictor(name: str | os.PathLike[str], *, checkpoint: str | int = BEST) -> Predictor:
    """Opens a model (see `checkpoints.models.open_model`) as a compiled network.

    Raises:
      UserError: there is no such model or checkpoint, or it is damaged.
    """
    opened = open_model(name, checkpoint=checkpoint)
    return Predictor(opened.model, opened.variables)


def load_colorizer(name: str | os.PathLike[str], *, checkpoint: str | int = BEST) -> Colorizer:
    """Opens a model (see `checkpoints.models.open_model`) as a `Colorizer` with its own inference settings.

    Raises:
      UserError: there is no such model or checkpoint, or it is damaged.
    """
    return make_colorizer(open_model(name, checkpoint=checkpoint))


def make_colorizer(opened: OpenedModel) -> Colorizer:
    """Returns an opened model as a `Colorizer` with its own inference settings."""
    predictor = Predictor(opened.model, opened.variables)
    return Colorizer(predictor, side=opened.config.inference.side, choice=color_choice(opened.config))


def color_choice(config: ConfigDict) -> ColorChoice:
    """Returns the `ColorChoice` that a config's `inference` describes."""
    settings = config.inference
    return ColorChoice(
        settings.branch, temperature=settings.temperature, share=settings.share, saturation=settings.saturation
    )
