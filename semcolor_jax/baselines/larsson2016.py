"""Larsson, Maire, Shakhnarovich: Learning Representations for Automatic Colorization (ECCV 2016).

VGG16 on the grey photo, with its first two dense layers as convolutions; the hypercolumn of a place is what all
layers say about it, 12 417 numbers; one hidden layer turns it into a histogram of 32 hues and one of 32 chromas.

A dense hypercolumn would be larger than all layers together. But the hidden layer is linear in it, so each layer has
its own part of the weights, applied at its own resolution where that is lower (dense), or at the sampled places alone
(sparse, for training). The sum is what the published network computes.

Parameters at width 64: 147 041 024, which are 588.16 MB of float32.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.baselines.published_layers import conv, linear, norm, scaled
from semcolor_jax.color import lab_to_rgb, rgb_to_lab
from semcolor_jax.color.hue_chroma import HISTOGRAM_BINS, HueChroma, decode_histograms, hue_chroma_to_rgb
from semcolor_jax.models.encoders import VGG16_BLOCKS
from semcolor_jax.models.layers import enlarge, pad_to_stride
from semcolor_jax.models.semcolor import Predictions

STRIDE = 32
"""Of the trunk."""

DENSE_STRIDE = 4
"""Of the dense prediction."""

DROPOUT = 0.5

_HIDDEN_STD = 1e-4

LAYERS = (
    "data",
    *(f"conv{block}_{i + 1}" for block, filters in enumerate(VGG16_BLOCKS, 1) for i in range(len(filters))),
    "fc6",
    "fc7",
)
"""The parts of the hypercolumn, in the order of the published weights."""


class Larsson2016(nn.Module):
    """Lightness to histograms of hue and chroma, and to their colour.

    The network was made for the mean of R, G and B; here it sees the grey of the photo's lightness, the same for a
    grey photo.

    Attributes:
      width: channels of the first layer; 64 is the published network.
      gray_mean: subtracted from the grey, 0..1.
      dtype: compute type of the trunk's convolutions.
    """

    width: int = 64
    gray_mean: float = 0.4488
    dtype: DTypeLike = jnp.float32

    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Predictions:
        """Predicts ab from L, 0..100; any H and W from 1 up."""
        height, width = lightness.shape[1:3]
        logits = self.histogram_logits(lightness, train=train)
        hue, chroma = (enlarge(jax.nn.softmax(part, axis=-1), DENSE_STRIDE)[:, :height, :width] for part in logits)
        color = decode_histograms(HueChroma(hue=hue, chroma=chroma))
        rgb = hue_chroma_to_rgb(color, grey=grey_of(lightness.astype(jnp.float32))[..., 0])
        return Predictions(ab=rgb_to_lab(rgb)[..., 1:], ab_title="decoded histograms")

    @nn.compact
    def histogram_logits(
        self, lightness: Float[Array, "B H W 1"], *, train: bool, places: Float[Array, "B P 2"] | None = None
    ) -> HueChroma:
        """Returns the logits of both histograms.

        Args:
          lightness: L, 0..100.
          train: batch statistics and dropout (of the random stream "dropout") instead of the running statistics.
          places: (row, column) in pixels; None for all cells of 4x4 pixels.

        Returns:
          (B, P, 32) each, or (B, h, w, 32) of the padded image, whose sides are multiples of 32.
        """
        column = 0.0
        layers = self._trunk(lightness, train=train)
        for name, features in layers.items():
            stride = layers["data"].shape[1] // features.shape[1]
            column += self._part(features, stride=stride, places=places, name=name)
        x = nn.relu(column)
        x = nn.Dropout(DROPOUT, deterministic=not train)(x)
        return HueChroma(hue=linear(HISTOGRAM_BINS, name="hue")(x), chroma=linear(HISTOGRAM_BINS, name="chroma")(x))

    def _trunk(self, lightness: Array, *, train: bool) -> dict[str, Array]:
        """Returns the layers of the hypercolumn, by name: the grey input, 13 convolutions, fc6 and fc7."""
        x = pad_to_stride(grey_of(lightness.astype(jnp.float32)), stride=STRIDE) - self.gray_mean
        layers = {"data": x}

        def layer(x: Array, channels: int, name: str, *, kernel: int = 3) -> Array:
            x = conv(x, scaled(channels, width=self.width), name=name, dtype=self.dtype, kernel=kernel)
            x = norm(x, name=f"norm_{name}", train=train, dtype=self.dtype, affine=False)
            layers[name] = nn.relu(x)
            return layers[name]

        for block, filters in enumerate(VGG16_BLOCKS, start=1):
            for index, channels in enumerate(filters, start=1):
                x = layer(x, channels, f"conv{block}_{index}")
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        for name, kernel in (("fc6", 7), ("fc7", 1)):
            x = nn.Dropout(DROPOUT, deterministic=not train)(layer(x, 4096, name, kernel=kernel))
            layers[name] = x
        return layers

    def _part(self, features: Array, *, stride: int, places: Array | None, name: str) -> Array:
        """Returns what a layer contributes to the hidden layer."""
        hidden = nn.Dense(
            scaled(1024, width=self.width),
            use_bias=name == "data",  # one bias is enough for the sum
            kernel_init=nn.initializers.normal(_HIDDEN_STD),
            name=f"hidden_{name}",
        )
        features = features.astype(jnp.float32)
        if places is not None:
            return hidden(sample_bilinear(features, places, stride=stride))
        if stride < DENSE_STRIDE:
            window = (DENSE_STRIDE // stride,) * 2
            features = nn.avg_pool(features, window, strides=window)
        projected = hidden(features)
        return enlarge(projected, stride // DENSE_STRIDE) if stride > DENSE_STRIDE else projected


def grey_of(lightness: Float[Array, "*n 1"]) -> Float[Array, "*n 1"]:
    """Returns the sRGB value (0..1) of the grey that has this lightness."""
    zeros = jnp.zeros((*lightness.shape[:-1], 2), lightness.dtype)
    rgb = lab_to_rgb(jnp.concatenate([lightness, zeros], axis=-1))
    return jnp.mean(rgb, axis=-1, keepdims=True)


def sample_bilinear(
    features: Float[Array, "B h w C"], places: Float[Array, "B P 2"], *, stride: int
) -> Float[Array, "B P C"]:
    """Reads a feature map at places given in pixels of the image.

    A cell stands for the centre of its stride x stride pixels, as in the dense prediction; places beyond the
    outermost centres read the outermost cells.
    """
    height, width = features.shape[1:3]
    position = (places + 0.5) / stride - 0.5
    position = jnp.clip(position, 0, jnp.asarray([height - 1, width - 1]))
    low = jnp.floor(position).astype(jnp.int32)
    high = jnp.minimum(low + 1, jnp.asarray([height - 1, width - 1]))
    part = position - low

    def read(rows: Array, columns: Array) -> Array:
        return jax.vmap(lambda image, r, c: image[r, c])(features, rows, columns)

    top = _mix(read(low[..., 0], low[..., 1]), read(low[..., 0], high[..., 1]), part[..., 1:])
    bottom = _mix(read(high[..., 0], low[..., 1]), read(high[..., 0], high[..., 1]), part[..., 1:])
    return _mix(top, bottom, part[..., :1])


def _mix(first: Array, second: Array, weight: Array) -> Array:
    return (1 - weight) * first + weight * second
