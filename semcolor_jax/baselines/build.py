"""From a config to a network and its first variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from semcolor_jax.baselines.iizuka2016 import Iizuka2016
from semcolor_jax.baselines.larsson2016 import Larsson2016
from semcolor_jax.baselines.zhang2016 import Siggraph17, Zhang2016
from semcolor_jax.config import branches
from semcolor_jax.models.layers import STRIDE
from semcolor_jax.models.semcolor import SemColorNet
from semcolor_jax.models.vgg16 import load_pretrained


def build_model(config: ConfigDict) -> nn.Module:
    """Returns the network that `config.model` describes; equal configs give equal, and hash-equal, ones.

    All of them are called as `model.apply(variables, lightness, train=...)` and return `Predictions`.
    """
    return NETWORKS[config.model.method](config)


def _semcolor(config: ConfigDict) -> nn.Module:
    return SemColorNet(
        width=config.model.width,
        encoder=config.model.encoder,
        branches=branches(config),
        scene_features=config.model.scene_features,
        dtype=jnp.dtype(config.model.dtype),
        frozen_blocks=config.model.frozen_blocks,
        output_stride=config.model.output_stride,
        remat=config.train.get("remat", "none"),  # runs of earlier versions have no such field
    )


def _zhang2016(config: ConfigDict) -> nn.Module:
    return Zhang2016(width=config.model.width, dtype=jnp.dtype(config.model.dtype))


def _siggraph17(config: ConfigDict) -> nn.Module:
    return Siggraph17(width=config.model.width, dtype=jnp.dtype(config.model.dtype))


def _larsson2016(config: ConfigDict) -> nn.Module:
    model = config.model
    return Larsson2016(width=model.width, gray_mean=model.gray_mean, dtype=jnp.dtype(model.dtype))


def _iizuka2016(config: ConfigDict) -> nn.Module:
    model = config.model
    return Iizuka2016(
        width=model.width,
        batch_norm=model.batch_norm,
        global_side=model.global_side,
        dtype=jnp.dtype(model.dtype),
    )


NETWORKS: dict[str, Callable[[ConfigDict], nn.Module]] = {
    "semcolor": _semcolor,
    "zhang2016": _zhang2016,
    "siggraph17": _siggraph17,
    "larsson2016": _larsson2016,
    "iizuka2016": _iizuka2016,
}
"""By `config.model.method`; `training.step.OBJECTIVES` has the losses by the same names."""


def init_variables(model: nn.Module, key: jax.Array, *, config: ConfigDict) -> dict[str, Any]:
    """Returns the variables that training starts from: "params" and "batch_stats", both float32.

    The encoder "vgg16" has the published weights where `config.model.pretrained` says so; everything else
    is random. "batch_stats" is an empty dict for "vgg16", which has no batch normalisation. No shape
    depends on the image size.

    Raises:
      UserError: the published weights cannot be had.
    """
    # Not under jit: compiling all initialisers anew takes longer than this one small forward pass.
    variables = model.init(key, jnp.zeros((1, STRIDE, STRIDE, 1)), train=False)
    variables = {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}
    if isinstance(model, SemColorNet) and model.encoder == "vgg16" and config.model.pretrained:
        variables = load_pretrained(variables, encoder=model.encoder)
    return variables
