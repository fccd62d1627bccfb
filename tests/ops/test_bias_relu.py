"""Bias and ReLU against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.ops.bias_relu import add_bias_relu


@pytest.mark.usefixtures("each_form")
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
