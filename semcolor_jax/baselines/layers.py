"""Layers of the comparison methods, with Caffe's and PyTorch's symmetric padding and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.color import lab_to_rgb
from semcolor_jax.ops.convolution import (
    convolve_by_product,
    convolve_dilated,
    convolve_halving,
    convolve_transposed,
)

PUBLISHED_WIDTH = 64
"""`config.model.width` at which a comparison method has its published number of channels."""

HEAD_INIT = nn.initializers.normal(0.01)
"""Read-outs start near uniform distributions."""


def scaled(channels: int, *, width: int) -> int:
    """Returns a published number of channels times width / 64, at least 1."""
    return max(1, channels * width // PUBLISHED_WIDTH)


def conv(
    x: Float[Array, "B H W C"],
    features: int,
    *,
    name: str,
    dtype: DTypeLike,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
) -> Float[Array, "B h w features"]:
    """Convolution with bias, inside a compact module; padding keeps the resolution, or divides it by `stride`.

    (Flax' "SAME" pads a strided convolution of an even side on one side only, which shifts the image by a pixel.)
    """
    pad = dilation * (kernel // 2)
    convolution = nn.Conv(
        features,
        kernel_size=(kernel, kernel),
        strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        kernel_dilation=(dilation, dilation),
        kernel_init=nn.initializers.he_normal(),
        conv_general_dilated=_convolve,
        dtype=dtype,
        name=name,
    )
    return convolution(x)


def _convolve(
    x: Array, kernel: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]], **options: Any
) -> Array:
    """Is `jax.lax.conv_general_dilated`, in this project's form where there is one."""
    (dilation,), (stride,) = set(options["rhs_dilation"]), set(strides)
    match kernel.shape[0], stride, dilation:
        case 3, 1, _:
            return convolve_dilated(x, kernel, dilation=dilation)
        case 3, 2, 1:
            return convolve_halving(x, kernel)
        case _, 1, 1:  # dense layers as convolutions, 7x7 and 1x1
            return convolve_by_product(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)


class TransposedConv(nn.Module):
    """Transposed 4x4 convolution of stride 2 and padding 1, with bias; parameters as of `nn.ConvTranspose`."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B 2*h 2*w features"]:
        """Returns the features, in `dtype`."""
        shape = (4, 4, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[-1:], jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return convolve_transposed(x, kernel) + bias


def deconv(
    x: Float[Array, "B h w C"], features: int, *, name: str, dtype: DTypeLike
) -> Float[Array, "B 2*h 2*w features"]:
    """Transposed 4x4 convolution of stride 2 and padding 1, which doubles the resolution."""
    return TransposedConv(features, dtype=dtype, name=name)(x)


def norm(
    x: Float[Array, "B H W C"], *, name: str, train: bool, dtype: DTypeLike, affine: bool = True
) -> Float[Array, "B H W C"]:
    """Batch normalisation with PyTorch's constants; Caffe's epsilon is the same.

    Caffe averages its statistics over the last thousand batches, and corrects for having fewer at first. A plain
    average over the last ten needs no such correction on short runs, and is as good on long ones.

    Args:
      x: the features.
      name: the layer's.
      train: whether to use the batch's statistics, and to learn from them.
      dtype: compute type.
      affine: whether there is a learned scale and bias; Caffe's layer has none.
    """
    layer = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        use_scale=affine,
        use_bias=affine,
        dtype=dtype,
        name=name,
    )
    return layer(x)


def linear(features: int, *, name: str) -> nn.Dense:
    """A float32 read-out: on a feature map, `Dense` is the 1x1 convolution."""
    return nn.Dense(features, kernel_init=HEAD_INIT, dtype=jnp.float32, name=name)


def grey_of(lightness: Float[Array, "*n 1"]) -> Float[Array, "*n 1"]:
    """Returns the sRGB value (0..1) of the grey that has this lightness."""
    zeros = jnp.zeros((*lightness.shape[:-1], 2), lightness.dtype)
    rgb = lab_to_rgb(jnp.concatenate([lightness, zeros], axis=-1))
    return jnp.mean(rgb, axis=-1, keepdims=True)
