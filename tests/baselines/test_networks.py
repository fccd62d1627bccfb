"""The networks of all comparison methods: any size, equal configs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_methods import config_of, inputs_of, parameters, random_variables, shapes_of

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.registry import find_method, method_names
from semcolor_jax.models.semcolor import Enlargement

BASELINES = [name for name in method_names() if name != "semcolor"]


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("size", [(1, 1), (37, 51), (64, 32)])
def test_any_size_comes_back(method, size):
    model = build_model(config_of(method, width=4))
    out = jax.eval_shape(
        lambda variables, x: model.apply(variables, x, train=False),
        shapes_of(model),
        jax.ShapeDtypeStruct((2, *size, 1), jnp.float32),
    )
    if method == "zhang2016":
        assert out.color_logits.shape == (2, -(-size[0] // 4), -(-size[1] // 4), 313)
        assert out.enlargement == Enlargement(4, *size)
    else:
        assert out.ab.shape == (2, *size, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("method", BASELINES)
def test_equal_configs_give_equal_networks_and_widths_scale(method):
    config = config_of(method, width=8)
    assert build_model(config) == build_model(config)
    assert hash(build_model(config)) == hash(build_model(config))
    assert parameters(method, width=8) < parameters(method, width=16)
    config.model.dtype = "bfloat16"
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes_of(build_model(config))["params"])} == {jnp.dtype("float32")}


@pytest.mark.slow
@pytest.mark.parametrize("method", method_names())
def test_a_method_says_whether_its_losses_weigh_colours_by_their_rarity(method):
    config = config_of(method, width=4)
    if method == "semcolor":
        config.model.variant = "regsoft"
    model = build_model(config)
    rng = np.random.default_rng(0)
    inputs = inputs_of(method, rng.integers(0, 256, (2, 32, 32, 3), np.uint8))
    inputs = inputs._replace(batch={**inputs.batch, "labels": jnp.full((2, 32, 32), 255, jnp.uint8)})
    variables = random_variables(model)

    @jax.jit
    @jax.grad
    def pull(params, rebalancing):
        weighed = inputs._replace(rebalancing=rebalancing)
        terms = find_method(method).objective(model, variables | {"params": params}, weighed).terms
        return jnp.sum(jnp.stack(list(terms.values())))

    pulls = [jax.tree.leaves(pull(variables["params"], jnp.full(313, weight))) for weight in (1.0, 2.0)]
    changed = any(np.any(np.asarray(one) != np.asarray(two)) for one, two in zip(*pulls, strict=True))
    assert changed == find_method(method).rebalances
