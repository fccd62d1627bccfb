"""Frozen encoder blocks: no gradient, no optimizer state, no movement."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.config import default
from semcolor_jax.training.optimizer import build_optimizer


@pytest.mark.parametrize("encoder", ["vgg_like", "vgg16"])
def test_frozen_blocks_get_no_gradient_and_no_moments(encoder):
    """Two frozen blocks: their weights and all that comes before stay, the third block's move."""
    config = default()
    config.model.encoder, config.model.pretrained = encoder, False
    config.model.width, config.model.scene_features, config.model.frozen_blocks = 4, 8, 2
    model = build_model(config)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    optimizer = build_optimizer(config, steps_per_epoch=10)
    state = optimizer.init(variables["params"])

    def loss(params):
        lightness = jnp.linspace(0, 100, 32 * 32).reshape(1, 32, 32, 1)
        out, _ = model.apply({**variables, "params": params}, lightness, train=True, mutable=["batch_stats"])
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(out))

    gradient = jax.grad(loss)(variables["params"])
    updates: Any
    updates, state = optimizer.update(gradient, state, variables["params"], value=jnp.ones(()))
    moved = {name: bool(jnp.any(layer["kernel"])) for name, layer in updates["backbone"].items() if "conv" in name}
    assert moved == {name: not name.startswith(("conv1_", "conv2_")) for name in moved}
    assert bool(jnp.any(updates["decoder"]["conv1_1"]["kernel"]))
    trained = sum(leaf.size for name, leaf in _named_leaves(variables["params"]) if not _frozen(name))
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert sum(leaf.size for leaf in moments) == 2 * trained


def _frozen(name):
    return any(part in name for part in ("backbone/conv1_", "backbone/conv2_", "backbone/norm1", "backbone/norm2"))


def _named_leaves(tree):
    return [("/".join(str(key.key) for key in path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
