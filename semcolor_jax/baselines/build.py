"""Builds the network that a config describes, and initialises its variables."""

from __future__ import annotations

import functools
import logging
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from semcolor_jax import backend
from semcolor_jax.baselines.registry import find_method
from semcolor_jax.models.layers import STRIDE

logger = logging.getLogger(__name__)


def build_model(config: ConfigDict) -> nn.Module:
    """Returns the network that `config.model` describes; equal configs give equal networks with equal hashes.

    All are called as `model.apply(variables, lightness, train=...)` and return `Predictions`.
    """
    return find_method(config.model.method).build(config)


def build_to_run(config: ConfigDict) -> nn.Module:
    """Returns `build_model`'s network, in float32 where this process cannot compute in bfloat16."""
    model: Any = build_model(config)
    if getattr(model, "dtype", None) != jnp.bfloat16 or backend.computes_bfloat16():
        return model
    logger.info("bfloat16 is not reliable on this CPU: computing in float32, unless XLA_FLAGS has %s.", backend.ONEDNN)
    return model.clone(dtype=jnp.float32)


def init_variables(model: nn.Module, key: jax.Array, *, config: ConfigDict) -> dict[str, Any]:
    """Returns the variables that training starts from: "params" and "batch_stats", both float32.

    They are random, except for pretrained ones (`Method.start`): the paper's encoder "vgg16" has the published weights
    if `config.model.pretrained` says so. "batch_stats" is an empty dict for networks without batch normalisation. No
    shape depends on the image size.

    Raises:
      UserError: the published weights are unavailable.
    """
    init = functools.partial(model.init, train=False)
    # On a CPU not under jit: compiling all initialisers takes longer than this one small forward pass. An accelerator
    # would compile a program for each of its operations, and try out the convolutions, whose results nobody reads.
    if backend.platform() != "cpu":
        init = jax.jit(init)
    variables = init(key, jnp.zeros((1, STRIDE, STRIDE, 1)))
    variables = {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}
    return find_method(config.model.method).start(variables, config)
