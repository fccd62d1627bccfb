"""The U-Net's decoder D(X_enc): from the encoding back to a feature map of the image's resolution, X_map."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.models.encoders import Encoding
from semcolor_jax.models.layers import ConvRelu, JoinedConvRelu, remat_if


class Decoder(nn.Module):
    """Four blocks of one nearest up-sampling and three 3x3 convolutions with ReLU, of 8, 4, 2 and 1 times
    `width`; with `output_stride` s > 1 it stops at 1/s of the resolution, without the last log2(s) blocks.

    The first convolution of a block sees the up-sampled features and, concatenated behind them, the
    encoder's of the same resolution. The paper normalises in the encoder only, and so do we.
    """

    width: int
    dtype: DTypeLike = jnp.float32
    output_stride: int = 1
    remat: bool = False  # recompute each block in the backward pass instead of keeping its features

    @nn.compact
    def __call__(self, encoding: Encoding) -> Float[Array, "B h w features"]:
        """Decodes to the resolution of the first skip over `output_stride`."""
        x = encoding.x_enc
        for level in (3, 2, 1, 0):
            if 2**level < self.output_stride:
                break
            x = remat_if(self.remat, functools.partial(_block, level=level))(self, x, encoding.skips[level])
        return x


def _block(decoder: Decoder, x: Array, skip: Array, *, level: int) -> Array:
    """The block whose output has the resolution of `level`, inside the decoder's compact method."""
    features = decoder.width * 2**level
    x = JoinedConvRelu(features, dtype=decoder.dtype, name=f"conv{level + 1}_1")(x, skip)
    for index in (2, 3):
        x = ConvRelu(features, dtype=decoder.dtype, name=f"conv{level + 1}_{index}")(x)
    return x
