"""The networks of all comparison methods: any size, equal configs."""

import jax
import jax.numpy as jnp
import pytest
from small_methods import config_of, parameters, shapes_of

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.registry import method_names
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
