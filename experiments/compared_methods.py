"""The networks that `ablation.py` and the accelerator's jobs compare, and what their tables call the colours.

The networks are the paper's ablations and the other methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import with_method
from semcolor_jax.inference.branches import branch_titles

ABLATIONS = {"RegSoft": "regsoft", "ClasRegSoft": "clasregsoft", "SegClasRegSoft": "segclasregsoft"}
"""`config.model.variant` of the networks of Table 2 that are the paper's own, by their titles there."""
COMPARISONS = {"Zhang 2016": "zhang2016", "Larsson 2016": "larsson2016", "Iizuka 2016": "iizuka2016"}
"""`config.model.method` of the other networks that are trained alike."""
BRANCHES = ("soft", "reg")
"""The branches that give colour, in the order of tables."""

_CELL = 32  # pixels; Iizuka's global features take a square copy whose side is a multiple of this


def config_of(title: str, config: ConfigDict) -> ConfigDict:
    """Returns a copy of a config for one of these networks; photos, order, updates and rates stay as they are.

    The comparison methods begin with random weights, so that their whole network learns at the full rate.
    """
    if title in ABLATIONS:
        config = config.copy_and_resolve_references()
        config.model.variant = ABLATIONS[title]
        return config
    config = with_method(config, COMPARISONS[title])
    config.loss.reg = 1.0
    config.optimizer.encoder_rate = 1.0
    if "global_side" in config.model:
        config.model.global_side = max(_CELL, config.data.image_size // _CELL * _CELL)
    return config


def titles_of(result: Mapping[str, Any]) -> dict[str, str]:
    """Returns what tables call the branches of a network's result; those of earlier versions have no "titles"."""
    return result.get("titles", branch_titles("regression"))
