"""The paper's own method (Nguyen-Quynh et al. 2020): the network of `models.semcolor`, the losses of eq. 16 to 20."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import Method, Variables
from semcolor_jax.config import branches
from semcolor_jax.losses import paper
from semcolor_jax.models.semcolor import SemColorNet
from semcolor_jax.models.vgg16 import load_pretrained


def build(config: ConfigDict) -> nn.Module:
    """Returns the network with the branches of the config's variant."""
    return SemColorNet(
        width=config.model.width,
        encoder=config.model.encoder,
        branches=branches(config),
        scene_features=config.model.scene_features,
        dtype=jnp.dtype(config.model.dtype),
        frozen_blocks=config.model.frozen_blocks,
        output_stride=config.model.output_stride,
        remat=config.train.remat,
    )


def start(variables: Variables, config: ConfigDict) -> Variables:
    """Puts the ImageNet weights into the encoder "vgg16".

    Raises:
      UserError: they are unavailable.
    """
    if config.model.encoder == "vgg16" and config.model.pretrained:
        return load_pretrained(variables, encoder=config.model.encoder, file=config.train.encoder_weights)
    return variables


METHOD = Method(build=build, objective=paper.semcolor, start=start, labels=branches, rebalances=True, encoder_blocks=5)
