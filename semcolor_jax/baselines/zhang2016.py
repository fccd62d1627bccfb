"""Zhang, Isola, Efros: Colorful Image Colorization (ECCV 2016), and Zhang et al. 2017 with hints (SIGGRAPH).

Both share the shape of their trunk: seven blocks of 3x3 convolutions with ReLU, each ending in a batch normalisation,
three halvings of the resolution, and dilation 2 instead of more halvings in the fifth and sixth block.

    block        1    2    3    4    5    6    7     8
    channels    64  128  256  512  512  512  512   256   (times width / 64)
    resolution  /2   /4   /8   /8   /8   /8   /8    /4   after the block

Parameters at width 64, in the form of the authors' PyTorch port: `Zhang2016` 32 235 385, and 626 more there for the
fixed bin centres that turn probabilities into ab; `Siggraph17` 34 187 027.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semcolor_jax.baselines.published_layers import conv, deconv, linear, norm, scaled
from semcolor_jax.models.layers import pad_to_stride
from semcolor_jax.models.semcolor import AB_SCALE, COLOR_BINS, Enlargement, Predictions

STRIDE = 8
"""Of the trunk."""

LOGITS_STRIDE = 4
"""Of the colour distributions, and so of the ab that they are trained towards."""

GRID_CLASSES = 529
"""Of `Siggraph17`: all points of the 23 x 23 grid of step 10 over -110..110, a first."""


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
        x = _normalized(pad_to_stride(lightness.astype(jnp.float32), stride=STRIDE))
        for number, block in enumerate(BLOCKS, start=1):
            for index in range(1, block.convolutions + 1):
                halves = block.halves and index == block.convolutions
                x = _conv_relu(self, x, block, name=f"conv{number}_{index}", stride=2 if halves else 1)
            x = norm(x, name=f"norm{number}", train=train, dtype=self.dtype)
        channels = scaled(256, width=self.width)
        x = nn.relu(deconv(x, channels, name="conv8_1", dtype=self.dtype))
        x = nn.relu(conv(x, channels, name="conv8_2", dtype=self.dtype))
        x = nn.relu(conv(x, channels, name="conv8_3", dtype=self.dtype))
        logits = linear(COLOR_BINS, name="bins")(x.astype(jnp.float32))
        return Predictions(
            color_logits=_crop_logits(logits, height=height, width=width),
            enlargement=Enlargement(LOGITS_STRIDE, height, width),
        )


@flax.struct.dataclass
class HintedOutputs:
    """What `Siggraph17.outputs` returns, float32."""

    ab: jax.Array  # (B, H, W, 2), CIE units
    class_logits: jax.Array  # (B, ceil(H / 4), ceil(W / 4), 529)


class Siggraph17(nn.Module):
    """Lightness and, if there are any, colour hints to ab at full resolution ("siggraph17").

    Attributes:
      width: channels of the first block; 64 is the published network.
      dtype: compute type of the convolutions.
    """

    width: int = 64
    dtype: DTypeLike = jnp.float32

    def __call__(
        self, lightness: Float[Array, "B H W 1"], *, train: bool, hints: Float[Array, "B H W 3"] | None = None
    ) -> Predictions:
        """Predicts from L, 0..100; any H and W from 1 up.

        Args:
          lightness: L.
          train: as in every network here.
          hints: a and b in CIE units where the user gave a colour, and a mask of 1 there; all 0 elsewhere.
        """
        return Predictions(ab=self.outputs(lightness, train=train, hints=hints).ab)

    @nn.compact
    def outputs(
        self, lightness: Float[Array, "B H W 1"], *, train: bool, hints: Float[Array, "B H W 3"] | None = None
    ) -> HintedOutputs:
        """Returns ab, and the class logits of the side task, on which only training looks."""
        height, width = lightness.shape[1:3]
        x = _with_hints(lightness.astype(jnp.float32), hints)
        before_halving = []
        for number, block in enumerate(BLOCKS, start=1):
            for index in range(1, block.convolutions + 1):
                x = _conv_relu(self, x, block, name=f"conv{number}_{index}")
            x = norm(x, name=f"norm{number}", train=train, dtype=self.dtype)
            if block.halves:
                before_halving.append(x)
                x = x[:, ::2, ::2]
        block1, block2, block3 = before_halving
        classes = x = self._up(x, block3, name="conv8", channels=256, convolutions=2, train=train)
        x = self._up(x, block2, name="conv9", channels=128, convolutions=1, train=train)
        channels = scaled(128, width=self.width)
        x = self._joined(x, block1, name="conv10", channels=channels)
        x = nn.leaky_relu(conv(x, channels, name="conv10_2", dtype=self.dtype), 0.2)
        ab = AB_SCALE * jnp.tanh(linear(2, name="ab")(x.astype(jnp.float32)))
        class_logits = linear(GRID_CLASSES, name="classes")(classes.astype(jnp.float32))
        return HintedOutputs(
            ab=ab[:, :height, :width], class_logits=_crop_logits(class_logits, height=height, width=width)
        )

    def _up(self, x: Array, skip: Array, *, name: str, channels: int, convolutions: int, train: bool) -> Array:
        """Doubles the resolution, adds the features of before, and normalises what comes after."""
        channels = scaled(channels, width=self.width)
        x = self._joined(x, skip, name=name, channels=channels)
        for index in range(2, 2 + convolutions):
            x = nn.relu(conv(x, channels, name=f"{name}_{index}", dtype=self.dtype))
        return norm(x, name=name.replace("conv", "norm"), train=train, dtype=self.dtype)

    def _joined(self, x: Array, skip: Array, *, name: str, channels: int) -> Array:
        up = deconv(x, channels, name=f"{name}_up", dtype=self.dtype)
        return nn.relu(up + conv(skip, channels, name=f"{name}_short", dtype=self.dtype))


def _conv_relu(net: Zhang2016 | Siggraph17, x: Array, block: Block, *, name: str, stride: int = 1) -> Array:
    channels = scaled(block.channels, width=net.width)
    return nn.relu(conv(x, channels, name=name, dtype=net.dtype, stride=stride, dilation=block.dilation))


def _normalized(lightness: Array) -> Array:
    return (lightness - 50) / 100


def _with_hints(lightness: Array, hints: Array | None) -> Array:
    """Returns the padded four channels of the input."""
    if hints is None:
        hints = jnp.zeros((*lightness.shape[:3], 3))
    padded = pad_to_stride(jnp.concatenate([lightness, hints.astype(jnp.float32)], axis=-1), stride=STRIDE)
    return jnp.concatenate([_normalized(padded[..., :1]), padded[..., 1:3] / AB_SCALE, padded[..., 3:]], axis=-1)


def _crop_logits(logits: Array, *, height: int, width: int) -> Array:
    """Cuts off the cells that see padding alone."""
    return logits[:, : -(-height // LOGITS_STRIDE), : -(-width // LOGITS_STRIDE)]
