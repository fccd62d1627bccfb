"""Max-pooling against windows written out in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.ops.pooling import max_pool


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("size", [(7, 8), (3, 3)])
def test_is_the_maximum_of_each_window(window, size):
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (window, window), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), window=window), windows.max(axis=(-2, -1)))
