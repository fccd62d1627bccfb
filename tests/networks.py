import jax
import numpy as np
import pytest

from semcolor_jax.baselines.build import init_variables
from semcolor_jax.config import default
from semcolor_jax.models import SemColorNet


@pytest.fixture(scope="session")
def net():
    """The paper's network, thin."""
    return SemColorNet(width=4, scene_features=8)


@pytest.fixture(scope="session")
def fresh(net):
    """Its variables before any training."""
    return init_variables(net, jax.random.key(0), config=default())


@pytest.fixture(scope="session")
def variables(fresh):
    """Its variables, with every bias, scale and statistic moved off its neutral start."""
    return shaken(fresh)


@pytest.fixture(scope="session")
def vgg16_net():
    return SemColorNet(width=4, scene_features=8, encoder="vgg16")


@pytest.fixture(scope="session")
def vgg16_variables(vgg16_net):
    """With the ImageNet weights in the encoder."""
    config = default()
    config.model.encoder = "vgg16"
    return init_variables(vgg16_net, jax.random.key(0), config=config)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def shaken(variables):
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: x + 0.1 * rng.uniform(size=x.shape).astype(np.float32) if x.ndim == 1 else x, variables
    )
