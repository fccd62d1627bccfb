"""Comparison method "eccv16": Zhang, Isola, Efros: Colorful Image Colorization (ECCV 2016); 313 bins at H/4.

    block        1    2    3    4    5    6    7     8
    channels    64  128  256  512  512  512  512   256   (times width / 64)
    resolution  /2   /4   /8   /8   /8   /8   /8    /4   after the block

Blocks of 3x3 convolutions with ReLU, each ending in a batch normalisation, with dilation 2 instead of further strides
in the fifth and sixth. Parameters at width 64: 32 235 385, and 626 more in the authors' PyTorch port for the fixed bin
centres that turn probabilities into ab. `siggraph17` has the same trunk.

Published weights, both of richzhang/colorization: `colorization_release_v2-9b330a0b.pth` (PyTorch) and
`colorization_release_v2.caffemodel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from semcolor_jax.baselines.layers import conv, deconv, linear, norm, scaled
from semcolor_jax.baselines.published import CaffeFile, PublishedWeights, TensorFile, is_pytorch
from semcolor_jax.baselines.registry import Method
from semcolor_jax.color import AB_BINS
from semcolor_jax.color.encoding import soft_encode_nearest
from semcolor_jax.errors import UserError
from semcolor_jax.losses.objective import Inputs, ModelLosses, apply_model
from semcolor_jax.models.layers import pad_to_stride
from semcolor_jax.models.semcolor import COLOR_BINS, Enlargement, Predictions

STRIDE = 8
"""Of the trunk."""

LOGITS_STRIDE = 4
"""Of the colour distributions, and so of the ab targets."""

GREY_BELOW = 5.0
"""A photo without any |a| or |b| above this teaches no colour."""


class Block(NamedTuple):
    """Convolutions of equal width; batch normalisation follows the last."""

    channels: int
    convolutions: int
    dilation: int = 1
    halves: bool = False  # the resolution: eccv16 in the last convolution, siggraph17 behind the block


BLOCKS = (
    Block(64, 2, halves=True),
    Block(128, 2, halves=True),
    Block(256, 3, halves=True),
    Block(512, 3),
    Block(512, 3, dilation=2),
    Block(512, 3, dilation=2),
    Block(512, 3),
)


class Zhang2016(nn.Module):
    """Lightness to a distribution over the 313 colour bins at a quarter of the resolution ("eccv16").

    Attributes:
      width: channels of the first block; 64 is the published network.
      dtype: compute type of the convolutions.
    """

    width: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Predictions:
        """Predicts from L, 0..100; any H and W from 1 up.

        Returns:
          color_logits (B, ceil(H / 4), ceil(W / 4), 313), with the enlargement by 4 that makes their colours (H, W).
        """
        height, width = lightness.shape[1:3]
        x = normalized(pad_to_stride(lightness.astype(jnp.float32), stride=STRIDE))
        for number, block in enumerate(BLOCKS, start=1):
            for index in range(1, block.convolutions + 1):
                halves = block.halves and index == block.convolutions
                stride, name = 2 if halves else 1, f"conv{number}_{index}"
                x = conv_relu(x, block, width=self.width, name=name, dtype=self.dtype, stride=stride)
            x = norm(x, name=f"norm{number}", train=train, dtype=self.dtype)
        channels = scaled(256, width=self.width)
        x = nn.relu(deconv(x, channels, name="conv8_1", dtype=self.dtype))
        x = nn.relu(conv(x, channels, name="conv8_2", dtype=self.dtype))
        x = nn.relu(conv(x, channels, name="conv8_3", dtype=self.dtype))
        logits = linear(COLOR_BINS, name="bins")(x.astype(jnp.float32))
        return Predictions(
            color_logits=crop_logits(logits, height=height, width=width),
            enlargement=Enlargement(LOGITS_STRIDE, height, width),
        )


def conv_relu(x: Array, block: Block, *, width: int, name: str, dtype: DTypeLike, stride: int = 1) -> Array:
    """One convolution of a block, inside a compact module."""
    channels = scaled(block.channels, width=width)
    return nn.relu(conv(x, channels, name=name, dtype=dtype, stride=stride, dilation=block.dilation))


def normalized(lightness: Array) -> Array:
    """Returns L as the networks see it, -0.5..0.5."""
    return (lightness - 50) / 100


def crop_logits(logits: Array, *, height: int, width: int) -> Array:
    """Crops cells that see only padding."""
    return logits[:, : -(-height // LOGITS_STRIDE), : -(-width // LOGITS_STRIDE)]


def build(config: ConfigDict) -> nn.Module:
    """Returns the network of `config.model`."""
    return Zhang2016(width=config.model.width, dtype=jnp.dtype(config.model.dtype))


def objective(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Cross-entropy against the soft-encoded ab of every fourth pixel of every fourth row, not averages.

    Rebalancing and the exclusion of grey photos act only on the gradient: the value is the plain cross-entropy, which
    the authors print.
    """
    predictions, stats = apply_model(model, variables, inputs)
    logits = cast(Array, cast(Predictions, predictions).color_logits)
    ab = inputs.lab[:, ::LOGITS_STRIDE, ::LOGITS_STRIDE, 1:]
    config = inputs.loss_config
    indices, weights = soft_encode_nearest(ab, nearest=config["encoding_nearest"], sigma=config["encoding_sigma"])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), indices, axis=-1)
    cross_entropy = -jnp.sum(weights * chosen, axis=-1)
    colourful = jnp.any(jnp.abs(ab) > GREY_BELOW, axis=(1, 2, 3))[:, None, None]
    plain = jnp.mean(cross_entropy)
    weighted = jnp.mean(inputs.rebalancing[indices[..., 0]] * colourful * cross_entropy)
    return ModelLosses({"soft": weighted + jax.lax.stop_gradient(plain - weighted)}, stats)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a bad value of the method's fields."""
    if not 1 <= config.loss.encoding_nearest <= COLOR_BINS:
        raise UserError(f"config.loss.encoding_nearest is {config.loss.encoding_nearest}, but must lie in 1..313.")


def load_published(path: Path) -> PublishedWeights:
    """Reads either published file. Raises `UserError` if it is damaged or holds another network."""
    return _read_pth(path) if is_pytorch(path) else _read_caffe(path)


def _read_pth(path: Path) -> PublishedWeights:
    source, weights = TensorFile(path), PublishedWeights()
    add_blocks(weights, source)
    weights.add_conv("conv8_1", source.layer("model8.0"), transposed=True)
    weights.add_conv("conv8_2", source.layer("model8.2"))
    weights.add_conv("conv8_3", source.layer("model8.4"))
    kernel, bias = source.layer("model8.6")
    order = _order_of_bins(source.array("model_out.weight"), path)
    weights.add_dense("bins", (kernel[order], bias[order]))
    return weights


def add_blocks(weights: PublishedWeights, source: TensorFile) -> None:
    """Adds the trunk's seven blocks: in the PyTorch port's lists, ReLUs come between the convolutions."""
    for number, block in enumerate(BLOCKS, start=1):
        for index in range(block.convolutions):
            weights.add_conv(f"conv{number}_{index + 1}", source.layer(f"model{number}.{2 * index}"))
        source.add_norm_to(weights, f"norm{number}", f"model{number}.{2 * block.convolutions}")


def _order_of_bins(decoder: np.ndarray, path: Path) -> np.ndarray:
    """Returns, for each of our bins, its place in a file whose last layer (2, 313, 1, 1) holds ab / 110 of each."""
    centres = decoder.reshape(2, -1).T * 110
    if centres.shape == AB_BINS.shape:
        distance = np.max(np.abs(AB_BINS[:, None] - centres), axis=-1)
        order = np.argmin(distance, axis=1)
        if np.max(np.min(distance, axis=1)) < 1 and len(set(order.tolist())) == len(order):
            return order
    raise UserError(f"{path}: the layer 'model_out' does not hold the 313 bin centres, so it is not eccv16.")


def _read_caffe(path: Path) -> PublishedWeights:
    source, weights = CaffeFile(path), PublishedWeights()
    for number, block in enumerate(BLOCKS, start=1):
        for index in range(1, block.convolutions + 1):
            name = f"conv{number}_{index}"
            weights.add_conv(name, source.layer(f"bw_{name}", name) if name == "conv1_1" else source.layer(name))
        mean, variance = source.statistics(f"conv{number}_{block.convolutions}norm")
        affine = np.ones_like(mean), np.zeros_like(mean)
        weights.add_norm(f"norm{number}", mean=mean, variance=variance, affine=affine)
    # Caffe's network sees L - 50, ours (L - 50) / 100.
    weights.params["conv1_1"]["kernel"] = 100 * weights.params["conv1_1"]["kernel"]
    weights.add_conv("conv8_1", source.layer("conv8_1"), transposed=True)
    weights.add_conv("conv8_2", source.layer("conv8_2"))
    weights.add_conv("conv8_3", source.layer("conv8_3"))
    weights.add_dense("bins", source.layer("conv8_313"))
    return weights


METHOD = Method(
    build=build,
    objective=objective,
    fields={
        "loss": dict(encoding_nearest=10),  # bins that describe a colour; the paper's own method always takes 5
        "inference": dict(branch="soft", temperature=0.38),
    },
    check=check,
    rebalances=True,
    load_published=load_published,
)
