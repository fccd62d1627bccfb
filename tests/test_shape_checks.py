"""The import hook of pyproject.toml is there, and looks at shapes alone."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from shape_checks import checked

from semcolor_jax.color import soft_encode
from semcolor_jax.losses.terms import regression_loss


def test_a_wrong_shape_is_told_before_the_function_runs():
    with pytest.raises(jaxtyping.TypeCheckError, match="ab"):
        soft_encode(np.zeros((4, 3), np.float32))
    with pytest.raises(jaxtyping.TypeCheckError, match="target"):
        regression_loss(jnp.zeros((4, 2)), jnp.zeros((3, 2)))


@pytest.mark.usefixtures("no_shape_checks")
def test_the_fixture_lets_our_own_checks_speak():
    with pytest.raises(ValueError, match="target"):
        regression_loss(jnp.zeros((4, 2)), jnp.zeros((3, 2)))


def test_what_has_no_shape_is_left_to_pyright():
    def function(name: str, images: list[jaxtyping.Float[np.ndarray, "h w"]]) -> int:
        return 0

    assert checked(function) is function
