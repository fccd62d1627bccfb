"""The U-Net's encoder E(X_L): four blocks that halve the resolution, and the middle block that outputs X_enc.

Which features the decoder gets. The paper puts stride 2 into a block's last convolution and connects "the
last convolution in the encoding block" to the decoding block "at the same depth level". Taken word for
word, these outputs have half the resolution of the block, so the decoder's last block, at full resolution,
would have no partner and edges would come from H/2. We read "same depth level" as "same resolution": the
skip of a block is its last feature map before the halving. So the decoding blocks at H/8, H/4, H/2 and H
meet encoder features of their own resolution and, in `vgg_like`, of their own width, as in the U-Net [12]
that the paper builds on. For VGG16 these are relu4_3, relu3_3, relu2_2 and relu1_2.

Neither encoder strides in the middle block: X_enc has H/16, four halvings for four up-samplings.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.models.layers import ConvRelu, batch_norm, remat_if
from semcolor_jax.ops.pooling import max_pool

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of the 13 convolutions of VGG16 (Simonyan and Zisserman 2015, configuration D), by block."""

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


class Encoding(NamedTuple):
    """What the encoder hands on, in the compute dtype."""

    skips: tuple[Array, Array, Array, Array]  # after ReLU: (B, H, W, .), (B, H/2, W/2, .), ... H/4, H/8
    x_enc: Array  # (B, H/16, W/16, .), the output of the middle block


class VggLikeEncoder(nn.Module):
    """The encoder as the paper's text has it.

    A block of level i (0..3) is two 3x3 convolutions of width * 2**i filters, the last with stride 2, then
    one batch normalisation. The middle block has the same layers at width * 16, without a stride.
    """

    width: int
    dtype: DTypeLike = jnp.float32
    frozen_blocks: int = 0
    remat: bool = False  # recompute each block in the backward pass instead of keeping its features

    @nn.compact
    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Encoding:
        """Encodes L, 0..100; H and W are multiples of 16."""
        x = lightness / 50 - 1  # to -1..1
        skips = []
        for level in range(5):
            skip, x = remat_if(self.remat, functools.partial(_vgg_like_block, level=level, train=train))(self, x)
            skips.append(skip)
            if level < self.frozen_blocks:
                skips[-1], x = jax.lax.stop_gradient((skips[-1], x))
        return Encoding(skips=tuple(skips[:4]), x_enc=x)


def _vgg_like_block(encoder: VggLikeEncoder, x: Array, *, level: int, train: bool) -> tuple[Array, Array]:
    """Returns the block's skip and its output, inside the encoder's compact method."""
    block, features, middle = level + 1, encoder.width * 2**level, level == 4
    skip = ConvRelu(features, dtype=encoder.dtype, name=f"conv{block}_1")(x)
    x = ConvRelu(features, dtype=encoder.dtype, stride=1 if middle else 2, name=f"conv{block}_2")(skip)
    return skip, batch_norm(x, name=f"norm{block}", train=train, dtype=encoder.dtype)


class Vgg16Encoder(nn.Module):
    """The 13 convolutions of VGG16 with 2x2 max-pooling between the blocks, made for the ImageNet weights.

    Lightness stands in for the photo: L / 100 is taken as the grey level, replicated to three channels and
    normalised by ImageNet's mean and deviation, the input that torchvision's weights (and LPIPS) were made
    for. L and the sRGB value of the same grey differ by 0.04 at most.

    There is no batch normalisation, because the weights were trained without. None is needed after them
    either: on photos the features of the five blocks have root mean squares of 1.0, 1.9, 2.9, 1.7 and 1.0.
    """

    dtype: DTypeLike = jnp.float32
    frozen_blocks: int = 0

    @nn.compact
    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Encoding:
        """Encodes L, 0..100; H and W are multiples of 16. Training and inference are the same."""
        del train
        x = (lightness / 100 - IMAGENET_MEAN) / IMAGENET_STD
        block1, block2, block3, block4, x_enc = vgg16_blocks(x, dtype=self.dtype, frozen_blocks=self.frozen_blocks)
        return Encoding(skips=(block1, block2, block3, block4), x_enc=x_enc)


def vgg16_blocks(x: Float[Array, "B H W 3"], *, dtype: DTypeLike = jnp.float32, frozen_blocks: int = 0) -> list[Array]:
    """The 13 convolutions of VGG16, inside a compact module: "conv1_1" .. "conv5_3".

    No gradient goes into the first `frozen_blocks` blocks, so none is computed there.

    Returns:
      what each of the five blocks gives after its last ReLU, (B, H, W, 64) .. (B, H/16, W/16, 512); 2x2
      max-pooling stands between the blocks, none after the last.
    """
    blocks: list[Array] = []
    for block, filters in enumerate(VGG16_BLOCKS, start=1):
        if blocks:
            x = max_pool(x, window=2)
        for index, features in enumerate(filters, start=1):
            x = ConvRelu(features, dtype=dtype, name=f"conv{block}_{index}")(x)
        if block <= frozen_blocks:
            x = jax.lax.stop_gradient(x)
        blocks.append(x)
    return blocks


def is_frozen(layer: str, *, frozen_blocks: int) -> bool:
    """Whether an encoder's layer ("conv3_1", "norm3") belongs to its first `frozen_blocks` blocks."""
    return any(layer == f"norm{block}" or layer.startswith(f"conv{block}_") for block in range(1, frozen_blocks + 1))


def make_encoder(
    encoder: str, *, width: int, dtype: DTypeLike, frozen_blocks: int = 0, remat: bool = False
) -> VggLikeEncoder | Vgg16Encoder:
    """Returns the encoder "vgg_like", scaled by `width`, or "vgg16", whose widths are fixed.

    `remat` is for "vgg_like"; "vgg16" keeps its features.

    Raises:
      ValueError: another name.
    """
    match encoder:
        case "vgg_like":
            return VggLikeEncoder(width=width, dtype=dtype, frozen_blocks=frozen_blocks, remat=remat)
        case "vgg16":
            return Vgg16Encoder(dtype=dtype, frozen_blocks=frozen_blocks)
    raise ValueError(f"unknown encoder {encoder!r}")
