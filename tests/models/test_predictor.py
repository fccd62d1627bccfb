from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from semcolor_jax.models import Predictions, Predictor


class Traced(nn.Module):
    """Adds its parameter to the lightness, and notes each time it is traced."""

    shapes: ClassVar[list] = []

    @nn.compact
    def __call__(self, lightness, *, train):
        assert train is False
        self.shapes.append(lightness.shape)
        return Predictions(ab=lightness + self.param("offset", nn.initializers.ones, ()))


def test_predictions_equal_a_plain_application(net, variables):
    x = np.random.default_rng(0).uniform(0, 100, (1, 20, 24, 1))  # float64, as numpy likes it
    expected = net.apply(variables, jnp.asarray(x, jnp.float32), train=False)
    predictions: Any = Predictor(net, variables)(x)
    np.testing.assert_allclose(predictions.ab, expected.ab, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(predictions.color_logits, expected.color_logits, rtol=1e-4, atol=1e-5)


def test_one_program_per_shape_also_for_new_weights():
    Traced.shapes.clear()
    one, five = (Predictor(Traced(), {"params": {"offset": np.float32(n)}}) for n in (1, 5))
    small, large = np.zeros((1, 2, 3, 1)), np.zeros((1, 4, 4, 1))
    for _ in range(2):
        assert (one(small).ab == 1).all()
        assert (five(small).ab == 5).all()
        assert (five(large).ab == 5).all()
    assert Traced.shapes == [small.shape, large.shape]
