"""Comparison method: Larsson, Maire, Shakhnarovich: Learning Representations for Automatic Colorization (ECCV 2016).

VGG16 on the grey photo, with its first two dense layers as convolutions; the hypercolumn of a place is all layers'
features there, 12 417 numbers; one hidden layer turns it into histograms of 32 hues and 32 chromas.

A dense hypercolumn would be larger than all layers together. But the hidden layer is linear in it, so each layer has
its own part of the weights, applied at its own resolution where that is lower (dense), or only at the sampled places
(sparse, for training). The sum equals what the published network computes.

Parameters at width 64: 147 041 024, which are 588.16 MB of float32.

Published weights: `autocolorize.caffemodel.h5` of gustavla/autocolorize; a self-trained `.caffemodel` is read, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Num
from ml_collections import ConfigDict

from semcolor_jax.baselines.layers import conv, grey_of, linear, norm, scaled
from semcolor_jax.baselines.published import EPSILON, CaffeFile, PublishedWeights
from semcolor_jax.baselines.registry import Method
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.color.hue_chroma import (
    HISTOGRAM_BINS,
    HueChroma,
    decode_histograms,
    histogram_bin,
    hue_chroma_to_rgb,
    rgb_to_hue_chroma,
)
from semcolor_jax.errors import UserError
from semcolor_jax.losses.objective import Inputs, ModelLosses, apply_model
from semcolor_jax.models.encoders import VGG16_BLOCKS
from semcolor_jax.models.layers import enlarge, pad_to_stride
from semcolor_jax.models.semcolor import Predictions
from semcolor_jax.ops.pooling import max_pool

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

GRAY_MEAN = 0.4488
"""Of the authors' training photos, 0..1."""

SAMPLED_PART = (96 / 352, 256 / 352)
"""Range in which the authors draw their places, along both sides of the crop."""

WINDOW = 7
"""Side in pixels of the window whose histogram is a place's target."""


class Larsson2016(nn.Module):
    """Lightness to histograms of hue and chroma, and to their colour.

    The network was made for the mean of R, G and B; here it sees the grey of the photo's lightness, equal for a grey
    photo.

    Attributes:
      width: channels of the first layer; 64 is the published network.
      gray_mean: subtracted from the grey, 0..1.
      dtype: compute type of the trunk's convolutions.
    """

    width: int = 64
    gray_mean: float = GRAY_MEAN
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
        self, lightness: Float[Array, "B H W 1"], *, train: bool, places: Num[Array, "B P 2"] | None = None
    ) -> HueChroma:
        """Returns the logits of both histograms.

        Args:
          lightness: L, 0..100.
          train: batch statistics and dropout (from the random stream "dropout") instead of the running statistics.
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
            x = max_pool(x, window=2)
        for name, kernel in (("fc6", 7), ("fc7", 1)):
            x = nn.Dropout(DROPOUT, deterministic=not train)(layer(x, 4096, name, kernel=kernel))
            layers[name] = x
        return layers

    def _part(self, features: Array, *, stride: int, places: Array | None, name: str) -> Array:
        """Returns what a layer contributes to the hidden layer."""
        hidden = nn.Dense(
            scaled(1024, width=self.width),
            use_bias=name == "data",  # one bias suffices for the sum
            kernel_init=nn.initializers.normal(_HIDDEN_STD),
            name=f"hidden_{name}",
        )
        features = features.astype(jnp.float32)
        if places is not None:
            # Both steps are linear, so they may swap: the cells or the places are multiplied, whichever are fewer.
            if math.prod(features.shape[1:3]) < places.shape[1]:
                return sample_bilinear(hidden(features), places, stride=stride)
            return hidden(sample_bilinear(features, places, stride=stride))
        if stride < DENSE_STRIDE:
            window = (DENSE_STRIDE // stride,) * 2
            features = nn.avg_pool(features, window, strides=window)
        projected = hidden(features)
        return enlarge(projected, stride // DENSE_STRIDE) if stride > DENSE_STRIDE else projected


def sample_bilinear(
    features: Float[Array, "B h w C"], places: Num[Array, "B P 2"], *, stride: int
) -> Float[Array, "B P C"]:
    """Samples a feature map at places given in pixels of the image.

    A cell stands for the centre of its stride x stride pixels, as in the dense prediction; places beyond the outermost
    centres take the outermost cells.
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


def build(config: ConfigDict) -> nn.Module:
    """Returns the network of `config.model`."""
    model = config.model
    return Larsson2016(width=model.width, gray_mean=model.gray_mean, dtype=jnp.dtype(model.dtype))


def objective(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """KL divergence from the histograms of hue and of chroma in a 7x7 window, at random places of each photo.

    Hue is weighted by the chroma of the place, chroma by 3 min(L, 1/3, 1 - L), where L is the mean of its R, G and B.
    """
    rgb = inputs.batch["image"].astype(jnp.float32) / 255
    count = inputs.loss_config["sample_places"]
    key = jax.random.fold_in(inputs.rngs["dropout"], 1)
    places = random_places(key, rgb, count=count) if count else grid_places(rgb)
    logits, stats = apply_model(model, variables, inputs, method="histogram_logits", places=places)
    logits = cast(HueChroma, logits)
    truth = window_histograms(rgb_to_hue_chroma(rgb), places)
    here = _read(rgb, places)
    grey = jnp.mean(here, axis=-1)
    hue_weight = jnp.max(here, axis=-1) - jnp.min(here, axis=-1)
    chroma_weight = 3 * jnp.minimum(jnp.minimum(grey, 1 / 3), 1 - grey)
    terms = {
        "hue": jnp.mean(hue_weight * kl_divergence(truth.hue, logits.hue)),
        "chroma": jnp.mean(chroma_weight * kl_divergence(truth.chroma, logits.chroma)),
    }
    return ModelLosses(terms, stats)


def random_places(key: jax.Array, rgb: Float[Array, "b h w 3"], *, count: int) -> Int[Array, "b p 2"]:
    """Draws `count` pixels (row, column) per photo from the middle of the crop."""
    batch, height, width = rgb.shape[:3]
    low, high = SAMPLED_PART
    share = jax.random.uniform(key, (batch, count, 2), minval=low, maxval=high)
    return (share * jnp.asarray([height, width])).astype(jnp.int32)


def grid_places(rgb: Num[Array, "b h w 3"]) -> Int[Array, "b p 2"]:
    """Returns one pixel in every 4x4 of the photo."""
    batch, height, width = rgb.shape[:3]
    rows, columns = (jnp.arange(min(DENSE_STRIDE // 2, side - 1), side, DENSE_STRIDE) for side in (height, width))
    grid = jnp.stack(jnp.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(1, -1, 2)
    return jnp.broadcast_to(grid, (batch, grid.shape[1], 2))


def window_histograms(color: HueChroma, places: Int[Array, "b p 2"]) -> HueChroma:
    """Returns the distributions (b, p, 32) of hue and chroma (b, h, w) in the window around each place.

    Beyond the photo's edge its outermost pixels are repeated.
    """
    around = jnp.arange(WINDOW) - WINDOW // 2
    offsets = jnp.stack(jnp.meshgrid(around, around, indexing="ij"), axis=-1).reshape(-1, 2)
    pixels = places[:, :, None] + offsets
    batch, count, size, _ = pixels.shape

    def histogram(plane: Array) -> Array:
        values = _read(plane, pixels.reshape(batch, count * size, 2)).reshape(batch, count, size)
        return jnp.mean(jax.nn.one_hot(histogram_bin(values), HISTOGRAM_BINS), axis=2)

    return HueChroma(hue=histogram(color.hue), chroma=histogram(color.chroma))


def kl_divergence(truth: Float[Array, "*n q"], logits: Float[Array, "*n q"]) -> Float[Array, "*n"]:
    """Returns sum truth log(truth / softmax(logits)) over the last axis; a bin without truth adds nothing."""
    log_prob = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    log_truth = jnp.log(jnp.where(truth > 0, truth, 1.0))
    return jnp.sum(truth * (log_truth - log_prob), axis=-1)


def _read(planes: Array, pixels: Int[Array, "b p 2"]) -> Array:
    """Returns the values (b, p, ...) at pixels of planes (b, h, w, ...); pixels outside are clamped to the edge."""
    height, width = planes.shape[1:3]
    rows, columns = jnp.clip(pixels[..., 0], 0, height - 1), jnp.clip(pixels[..., 1], 0, width - 1)
    return jax.vmap(lambda plane, r, c: plane[r, c])(planes, rows, columns)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a bad value of the method's fields."""
    if config.loss.sample_places < 0:
        raise UserError(f"config.loss.sample_places is {config.loss.sample_places}, but must be 0 (all) or above.")


def load_published(path: Path) -> PublishedWeights:
    """Reads a file of either of Caffe's formats.

    Released files have their batch normalisations folded into the convolutions and take grey in 0..1.

    Raises:
      UserError: the file is damaged or holds another network.
    """
    source = CaffeFile(path)
    folded = not source.has("batch_conv1_1")
    weights = PublishedWeights(settings={"model.gray_mean": 0.0 if folded else GRAY_MEAN})
    channels = [1]
    for name in LAYERS[1:]:
        weights.add_conv(name, source.layer(name))
        count = weights.params[name]["bias"].size
        channels.append(count)
        neutral = np.zeros(count, np.float32), np.full(count, 1 - EPSILON, np.float32)
        mean, variance = neutral if folded else source.statistics(f"batch_{name}")
        weights.add_norm(f"norm_{name}", mean=mean, variance=variance)
    kernel, bias = source.layer("h_fc1", "colorize_fc1")
    kernel = kernel.reshape(len(kernel), -1).T
    if len(kernel) != sum(channels):
        raise UserError(f"{path}: the hidden layer has {len(kernel)} inputs, but the hypercolumn {sum(channels)}.")
    parts = np.split(kernel, np.cumsum(channels)[:-1])
    for name, part in zip(LAYERS, parts, strict=True):
        weights.params[f"hidden_{name}"] = {"kernel": np.ascontiguousarray(part, np.float32)}
    weights.params["hidden_data"]["bias"] = np.asarray(bias, np.float32)
    weights.add_dense("hue", source.layer("prediction_h", "prediction_h4"))
    weights.add_dense("chroma", source.layer("prediction_c", "prediction_c4"))
    return weights


METHOD = Method(
    build=build,
    objective=objective,
    fields={
        "model": dict(gray_mean=GRAY_MEAN),  # subtracted from the grey input, 0..1
        "loss": dict(
            hue=5.0,
            chroma=1.0,
            sample_places=128,  # places per photo to train on; 0: all, at stride 4
        ),
        "inference": dict(branch="reg"),  # the decoded histograms: the network's own ab
    },
    check=check,
    load_published=load_published,
)
