"""The expanding path D(X_enc): from the encoding back to a feature map of the image's resolution, X_map."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.models.encoders import Encoding
from semcolor_jax.models.layers import conv_relu, upsample


class Decoder(nn.Module):
    """Four blocks of one nearest up-sampling and three 3x3 convolutions with ReLU, of 8, 4, 2 and 1 times
    `width`; with `output_stride` s > 1 it stops at 1/s of the resolution, without the last log2(s) blocks.

    The first convolution of a block sees the up-sampled features and, concatenated behind them, the
    encoder's of the same resolution. The paper normalises in the encoder only, and so do we.
    """

    width: int
    dtype: DTypeLike = jnp.float32
    output_stride: int = 1

    @nn.compact
    def __call__(self, encoding: Encoding) -> Float[Array, "B h w features"]:
        """Decodes to the resolution of the first skip over `output_stride`."""
        x = encoding.x_enc
        for level in (3, 2, 1, 0):
            if 2**level < self.output_stride:
                break
            block, features = level + 1, self.width * 2**level
            x = jnp.concatenate([upsample(x), encoding.skips[level]], axis=-1)
            for index in (1, 2, 3):
                x = conv_relu(x, features, name=f"conv{block}_{index}", dtype=self.dtype)
        return x
