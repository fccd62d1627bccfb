"""Shared code of the readers of published VGG16-Places365 weight files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from semcolor_jax.errors import UserError

LayerArrays: TypeAlias = dict[str, np.ndarray]
"""`kernel`, (3, 3, I, O) or (I, O), and `bias`, (O,), float32, in Flax's layout."""

CONVOLUTIONS = tuple(
    f"conv{block}_{index}" for block, count in enumerate((2, 2, 3, 3, 3), start=1) for index in range(1, count + 1)
)
"""The 13 convolutions of VGG16, by block and position in it."""

DENSE = ("fc6", "fc7", "fc8")
"""Its dense layers, by their number in the network."""


@dataclasses.dataclass(frozen=True)
class ClassifierWeights:
    """A classifier's parameters, and the preprocessing that they expect.

    Attributes:
      params: of `models.vgg16_classifier.Vgg16Classifier`.
      rgb_mean: what to subtract from red, green and blue, each 0..255. The result is not scaled. It stays out of
        the first layer's bias, because that layer pads with zeros after the subtraction.
    """

    params: Mapping[str, LayerArrays]
    rgb_mean: tuple[float, float, float]

    def preprocess(self, photos: np.ndarray) -> np.ndarray:
        """Returns uint8 sRGB photos (..., 3) as the float32 input of the network."""
        return photos.astype(np.float32) - np.asarray(self.rgb_mean, np.float32)


def from_bgr(layers: Mapping[str, LayerArrays]) -> Mapping[str, LayerArrays]:
    """Turns a BGR network into an RGB one, by reversing the input channels of its first convolution."""
    first = layers["conv1_1"]
    return {**layers, "conv1_1": {**first, "kernel": np.ascontiguousarray(first["kernel"][:, :, ::-1])}}


def layer_arrays(kernel: np.ndarray, bias: np.ndarray, *, rank: int, where: str) -> LayerArrays:
    """Returns a layer's arrays, float32 and contiguous, with their ranks and the number of outputs checked.

    Raises:
      UserError: they are not a layer with a kernel of this rank; `where` names the file and the layer.
    """
    if kernel.ndim != rank or bias.shape != kernel.shape[-1:]:
        raise UserError(
            f"{where} has a kernel {kernel.shape} and a bias {bias.shape}, which is not a layer of VGG16: "
            "get the published file."
        )
    return {name: np.ascontiguousarray(x, np.float32) for name, x in (("kernel", kernel), ("bias", bias))}
