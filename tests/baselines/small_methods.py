"""What the tests of single methods share: thin networks, counts of parameters, a network that says what it was told."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.registry import checked, default_config
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.losses.objective import Inputs

SIDE = 12
"""Of the photos that losses are tested on."""


def config_of(method, *, width=64):
    config = default_config(method)
    config.model.width = width
    if "global_side" in config.model and width != 64:
        config.model.global_side = 32
    return checked(config)


@functools.cache
def shapes_of(model: Any):
    lightness = jnp.zeros((1, 16, 16, 1))
    return jax.eval_shape(lambda key: model.init(key, lightness, train=False), jax.random.key(0))


def random_variables(model):
    """Variables without compiling or running an initialiser."""
    rng = np.random.default_rng(0)
    shapes = shapes_of(model)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes["params"])
    return {
        "params": params,
        "batch_stats": jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes.get("batch_stats", {})),
    }


def parameters(method, *, width=64, **fields):
    config = config_of(method, width=width)
    config.model.update(fields)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(build_model(config))["params"]))


class Fixed:
    """A network that answers what it was told, and so has its answer as its only variable."""

    def apply(self, variables, lightness, **arguments):
        self.arguments = arguments
        return variables["params"], {}


def losses_of(objective, outputs, inputs, *, network=None):
    """The losses of a network that answers `outputs`, compiled as one program."""
    network = network or Fixed()
    return jax.jit(lambda outputs: objective(network, {"params": outputs}, inputs).terms)(outputs)


def inputs_of(method, image, *, rebalancing=None, **fields):
    """What the method's losses get, for photos (b, SIDE, SIDE, 3); `fields` are those of `config.loss`."""
    config = default_config(method)
    config.loss.update(fields)
    batch = {
        "image": jnp.asarray(image),
        "scene_index": jnp.tile(jnp.arange(5, dtype=jnp.int32), (len(image), 1)),
        "scene_prob": jnp.tile(jnp.asarray([0.6, 0.1, 0.1, 0.1, 0.1]), (len(image), 1)),
    }
    weights = jnp.ones(313) if rebalancing is None else jnp.asarray(rebalancing)
    return Inputs(batch, rgb_to_lab(batch["image"]), config.loss, weights, {"dropout": jax.random.key(0)})
