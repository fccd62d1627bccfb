"""VGG16 with its three dense layers: the Places365 network that gives the paper's scene labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.models.encoders import VGG16_BLOCKS, vgg16_blocks

Params = Mapping[str, Mapping[str, np.ndarray]]

_REDUCTION = 2 ** len(VGG16_BLOCKS)
"""Five halvings lie between the photo and the first dense layer."""


class Vgg16Classifier(nn.Module):
    """VGG16 (Simonyan and Zisserman 2015, configuration D), for inference: there is no dropout.

    Attributes:
      num_classes: number of logits.
      dense_features: of "fc6" and "fc7"; the logits are "fc8".
      dtype: the compute type.
    """

    num_classes: int
    dense_features: tuple[int, int] = (4096, 4096)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"]) -> Float[Array, "B num_classes"]:
        """Returns the logits of photos preprocessed as the weights expect.

        "fc6" sees the last feature map in the order (height, width, channel), so its weights fix H and W.
        """
        x = vgg16_blocks(x, dtype=self.dtype)[-1]
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for name, features in zip(("fc6", "fc7"), self.dense_features, strict=True):
            x = nn.relu(nn.Dense(features, dtype=self.dtype, name=name)(x))
        return nn.Dense(self.num_classes, dtype=self.dtype, name="fc8")(x)


def input_side(params: Params) -> int:
    """Returns the height and width in pixels of the square photos that "fc6" was made for; published: 224."""
    return _REDUCTION * math.isqrt(params["fc6"]["kernel"].shape[0] // VGG16_BLOCKS[-1][-1])


def classifier_for(params: Params) -> Vgg16Classifier:
    """Returns the network of these parameters.

    Raises:
      ValueError: naming the first layer that does not fit into a VGG16 for square photos.
    """
    widths = [params[name]["kernel"].shape[-1] for name in ("fc6", "fc7", "fc8")]
    network = Vgg16Classifier(num_classes=widths[2], dense_features=(widths[0], widths[1]))
    photo = jax.ShapeDtypeStruct((1, input_side(params), input_side(params), 3), jnp.float32)
    wanted = _shapes(jax.eval_shape(network.init, jax.random.key(0), photo)["params"])
    found = _shapes(params)
    for layer, shapes in wanted.items():
        if found.get(layer) != shapes:
            raise ValueError(f"layer {layer} has the shapes {found.get(layer)}, but a VGG16 needs {shapes}")
    return network


def _shapes(params: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, tuple[int, ...]]]:
    return {layer: {name: tuple(x.shape) for name, x in arrays.items()} for layer, arrays in params.items()}
