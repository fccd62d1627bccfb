"""From a config to a network and its first variables."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from semcolor_jax.config import branches
from semcolor_jax.models.layers import STRIDE
from semcolor_jax.models.semcolor import SemColorNet
from semcolor_jax.models.vgg16 import load_pretrained


def build_model(config: ConfigDict) -> SemColorNet:
    """Returns the network that `config.model` describes; equal configs give equal, and hash-equal, ones."""
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


def init_variables(model: SemColorNet, key: jax.Array, *, config: ConfigDict) -> dict[str, Any]:
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
    if model.encoder == "vgg16" and config.model.pretrained:
        variables = load_pretrained(variables, encoder=model.encoder)
    return variables
