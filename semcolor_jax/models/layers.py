"""The layers that encoder and decoder share, and the padding that lets them take any image size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from semcolor_jax.ops.bias_relu import add_bias_relu
from semcolor_jax.ops.convolution import convolve, convolve_joined

STRIDE = 16
"""Height and width of the pixels that one cell of X_enc stands for: four halvings."""


class ConvRelu(nn.Module):
    """3x3 convolution and ReLU; `stride` divides the resolution, rounding up. Its parameters are those of `nn.Conv`."""

    features: int
    dtype: DTypeLike
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w features"]:
        """Returns the features, in `dtype`."""
        kernel, bias = _parameters(self, x.shape[-1], dtype=self.dtype)
        return add_bias_relu(convolve(x.astype(self.dtype), kernel, stride=self.stride), bias)


class JoinedConvRelu(nn.Module):
    """3x3 convolution of two concatenated maps, the first upsampled 2x, and ReLU; parameters as of `nn.Conv`."""

    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], skip: Float[Array, "B H W D"]) -> Float[Array, "B H W features"]:
        """Returns the features of x, upsampled 2x, concatenated with `skip`, twice as large as x."""
        kernel, bias = _parameters(self, x.shape[-1] + skip.shape[-1], dtype=self.dtype)
        return add_bias_relu(convolve_joined(x.astype(self.dtype), skip.astype(self.dtype), kernel), bias)


def _parameters(module: ConvRelu | JoinedConvRelu, channels: int, *, dtype: DTypeLike) -> tuple[Array, Array]:
    """Makes kernel and bias inside a compact method; returns them in the compute type."""
    shape = (3, 3, channels, module.features)
    kernel = module.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
    bias = module.param("bias", nn.initializers.zeros_init(), shape[-1:], jnp.float32)
    return jnp.asarray(kernel, dtype), jnp.asarray(bias, dtype)  # loaded weights may be numpy arrays


def remat_if(remat: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function(module, *arrays)`; with `remat`, it keeps only its inputs for the backward pass.

    Everything inside is recomputed there: the gradient takes a third more work and far fewer features are kept.
    Parameter names stay the same.
    """
    return nn.remat(function) if remat else function


def batch_norm(x: Float[Array, "B H W C"], *, name: str, train: bool, dtype: DTypeLike) -> Float[Array, "B H W C"]:
    """Batch normalisation with the defaults of Keras, which the paper used; statistics are always float32."""
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.99, epsilon=1e-3, dtype=dtype, name=name)
    return norm(x)


def enlarge(x: Float[Array, "B h w C"], factor: int) -> Float[Array, "B {factor}*h {factor}*w C"]:
    """Upsamples bilinearly between cell centres; each cell stands for factor x factor pixels."""
    if factor == 1:
        return x
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, factor * height, factor * width, channels), method="linear")


def pad_to_stride(x: Float[Array, "B H W C"], *, stride: int = STRIDE) -> Float[Array, "B h w C"]:
    """Mirrors the image at its lower and right edges until both sides are multiples of `stride`.

    The border pixel is repeated (numpy's "symmetric"), and the mirroring as often as needed, so even a 1x1 image works.
    The upper left corner stays where it is: cropping to (H, W) undoes the padding.
    """
    extra = [(0, 0), *((0, -side % stride) for side in x.shape[1:3]), (0, 0)]
    return jnp.pad(x, extra, mode="symmetric") if any(after for _, after in extra) else x


def mean_over_image(x: Float[Array, "B h w C"], *, height: int, width: int) -> Float32[Array, "B C"]:
    """Global average pooling of X_enc over the image without its padding.

    A cell is weighted by the share of its 16x16 pixels inside the (height, width) image, so padding has no weight. (It
    is still seen by convolutions whose windows reach over the edge, as any padding would be.)
    """
    weights = _shares(height)[:, None] * _shares(width)[None, :]
    weights = weights / weights.sum()
    return jnp.sum(x.astype(jnp.float32) * weights[None, :, :, None], axis=(1, 2))


def _shares(side: int) -> Float32[np.ndarray, " cells"]:
    """Returns, for each cell along a side, the share of its 16 pixels that lies inside the image."""
    starts = np.arange(0, side, STRIDE)
    return np.minimum((side - starts) / STRIDE, 1).astype(np.float32)
