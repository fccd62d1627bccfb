import numpy as np
import pytest
from networks import fresh, net, rng, variables, vgg16_net, vgg16_variables  # noqa: F401
from small_methods import SIDE


@pytest.fixture
def image(rng):  # noqa: F811
    """Two photos of noise."""
    return rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
