"""VGG16 of `keras.applications` with random weights, against which the converters are measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from semcolor_jax.data.cpu_tf import tf  # noqa: F401  first, so that Keras finds no GPU


@dataclass(frozen=True)
class Reference:
    """A Keras network for BGR input, its weights by layer, and photos to try it on."""

    model: Any
    layers: dict[str, tuple[np.ndarray, np.ndarray]]  # kernel, bias
    photos: np.ndarray  # uint8 RGB

    def logits(self, *, bgr_mean):
        bgr = self.photos[..., ::-1].astype(np.float32) - np.array(bgr_mean, np.float32)
        return np.asarray(self.model(bgr))


def make_reference(model, *, side):
    """Fills the network with weights that neither blow up nor vanish: logits of order 1 from inputs of order 100."""
    rng = np.random.default_rng(0)
    layers = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        kernel, bias = (rng.normal(size=weight.shape).astype(np.float32) for weight in layer.weights)
        kernel *= np.sqrt(2 / np.prod(kernel.shape[:-1])) / (100 if layer.name == "block1_conv1" else 1)
        bias *= 0.1
        layer.set_weights([kernel, bias])
        layers[layer.name] = (kernel, bias)
    photos = rng.integers(0, 256, (2, side, side, 3), np.uint8)
    return Reference(model, layers, photos)


def make_vgg16(*, side, dense):
    """The network for photos of `side` pixels, its dense layers of these widths."""
    import keras

    vgg16: Any = keras.applications.VGG16  # whose annotations do not know None
    trunk = vgg16(weights=None, include_top=False, input_shape=(side, side, 3))
    x = keras.layers.Flatten(name="flatten")(trunk.output)
    x = keras.layers.Dense(dense[0], activation="relu", name="fc1")(x)
    x = keras.layers.Dense(dense[1], activation="relu", name="fc2")(x)
    x = keras.layers.Dense(365, name="predictions")(x)
    return make_reference(keras.Model(trunk.input, x), side=side)


@pytest.fixture(scope="session")
def small():
    """64 pixels a side, so that "fc6" sees a 2x2 map, and narrow dense layers."""
    return make_vgg16(side=64, dense=(24, 16))


@pytest.fixture
def published():
    """The published sizes: 138 million parameters, 224 pixels a side, so that "fc6" sees a 7x7 map."""
    return make_vgg16(side=224, dense=(4096, 4096))
