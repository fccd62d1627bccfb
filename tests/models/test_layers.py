"""Layers against Flax's and JAX's own."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.models.layers import ConvRelu


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_conv_relu_has_the_parameters_and_the_result_of_flaxs(stride, dtype):
    x = jnp.asarray(np.random.default_rng(1).standard_normal((2, 7, 6, 4)), jnp.float32)
    ours = ConvRelu(5, dtype=jnp.dtype(dtype), stride=stride)
    flaxs = nn.Conv(5, (3, 3), strides=stride, kernel_init=nn.initializers.he_normal(), dtype=jnp.dtype(dtype))
    variables, expected = (layer.init(jax.random.key(2), x) for layer in (ours, flaxs))
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    result: Any = ours.apply(variables, x)
    plain: Any = flaxs.apply(expected, x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, nn.relu(plain))
