"""Layers against Flax's and JAX's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.models.layers import ConvRelu, add_bias_relu


def test_add_bias_relu_is_jaxs_in_value_and_gradients():
    rng = np.random.default_rng(0)
    x, weights = (jnp.asarray(rng.standard_normal((2, 5, 4, 3)), jnp.float32) for _ in range(2))
    bias = jnp.asarray([0.5, -0.5, 0.0])
    x = x.at[0, 0, 0].set(-bias)  # where ReLU has its corner, the gradient is 0

    def ours(x, bias):
        return jnp.sum(weights * add_bias_relu(x, bias))

    def jaxs(x, bias):
        return jnp.sum(weights * jax.nn.relu(x + bias))

    np.testing.assert_array_equal(add_bias_relu(x, bias), jax.nn.relu(x + bias))
    for a, b in zip(jax.grad(ours, (0, 1))(x, bias), jax.grad(jaxs, (0, 1))(x, bias), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_conv_relu_has_the_parameters_and_the_result_of_flaxs(stride, dtype):
    x = jnp.asarray(np.random.default_rng(1).standard_normal((2, 7, 6, 4)), jnp.float32)
    ours = ConvRelu(5, dtype=jnp.dtype(dtype), stride=stride)
    flaxs = nn.Conv(5, (3, 3), strides=stride, kernel_init=nn.initializers.he_normal(), dtype=jnp.dtype(dtype))
    variables, expected = (layer.init(jax.random.key(2), x) for layer in (ours, flaxs))
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    result = ours.apply(variables, x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, nn.relu(flaxs.apply(expected, x)))
