"""Comparison method "siggraph17": Zhang et al., Real-Time User-Guided Image Colorization (SIGGRAPH 2017).

The trunk of `zhang2016`, skip connections, and a decoder to full resolution; it takes colour hints, and has a side task
of 529 classes at H/4. Parameters at width 64, in the form of the authors' PyTorch port: 34 187 027.

Published weights: `siggraph17-df00044c.pth` (PyTorch) of richzhang/colorization.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from semcolor_jax.baselines.layers import conv, deconv, linear, norm, scaled
from semcolor_jax.baselines.methods.zhang2016 import (
    BLOCKS,
    LOGITS_STRIDE,
    STRIDE,
    add_blocks,
    conv_relu,
    crop_logits,
    normalized,
)
from semcolor_jax.baselines.published import PublishedWeights, TensorFile
from semcolor_jax.baselines.registry import Method
from semcolor_jax.errors import UserError
from semcolor_jax.losses.objective import Inputs, ModelLosses, apply_model
from semcolor_jax.models.layers import pad_to_stride
from semcolor_jax.models.semcolor import AB_SCALE, Predictions

GRID_STEP, GRID_SIDE = 10, 23
"""Distance of the side task's 23 x 23 class centres in CIE units, and their number along a and b; a first."""

GRID_CLASSES = GRID_SIDE**2

LARGEST_PATCH = 9
"""Largest side of a hint in pixels; sides are drawn uniformly from 1 up."""

MOST_HINTS = 32
"""Per photo; at the published stopping chance of 1/8, 14 in 1000 photos would have more."""


@flax.struct.dataclass
class HintedOutputs:
    """What `Siggraph17.outputs` returns, float32."""

    ab: jax.Array  # (B, H, W, 2), CIE units
    class_logits: jax.Array  # (B, ceil(H / 4), ceil(W / 4), 529)


class Siggraph17(nn.Module):
    """Lightness, and colour hints if any, to ab at full resolution ("siggraph17").

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
          hints: a and b in CIE units, and a mask of 1, where the user gave a colour; all 0 elsewhere.
        """
        return Predictions(ab=self.outputs(lightness, train=train, hints=hints).ab)

    @nn.compact
    def outputs(
        self, lightness: Float[Array, "B H W 1"], *, train: bool, hints: Float[Array, "B H W 3"] | None = None
    ) -> HintedOutputs:
        """Returns ab, and the class logits of the side task, which only training uses."""
        height, width = lightness.shape[1:3]
        x = _with_hints(lightness.astype(jnp.float32), hints)
        before_halving = []
        for number, block in enumerate(BLOCKS, start=1):
            for index in range(1, block.convolutions + 1):
                x = conv_relu(x, block, width=self.width, dtype=self.dtype, name=f"conv{number}_{index}")
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
            ab=ab[:, :height, :width], class_logits=crop_logits(class_logits, height=height, width=width)
        )

    def _up(self, x: Array, skip: Array, *, name: str, channels: int, convolutions: int, train: bool) -> Array:
        """Doubles the resolution, adds the skip connection, and normalises the result."""
        channels = scaled(channels, width=self.width)
        x = self._joined(x, skip, name=name, channels=channels)
        for index in range(2, 2 + convolutions):
            x = nn.relu(conv(x, channels, name=f"{name}_{index}", dtype=self.dtype))
        return norm(x, name=name.replace("conv", "norm"), train=train, dtype=self.dtype)

    def _joined(self, x: Array, skip: Array, *, name: str, channels: int) -> Array:
        up = deconv(x, channels, name=f"{name}_up", dtype=self.dtype)
        return nn.relu(up + conv(skip, channels, name=f"{name}_short", dtype=self.dtype))


def _with_hints(lightness: Array, hints: Array | None) -> Array:
    """Returns the padded four channels of the input."""
    if hints is None:
        hints = jnp.zeros((*lightness.shape[:3], 3))
    padded = pad_to_stride(jnp.concatenate([lightness, hints.astype(jnp.float32)], axis=-1), stride=STRIDE)
    return jnp.concatenate([normalized(padded[..., :1]), padded[..., 1:3] / AB_SCALE, padded[..., 3:]], axis=-1)


def build(config: ConfigDict) -> nn.Module:
    """Returns the network of `config.model`."""
    return Siggraph17(width=config.model.width, dtype=jnp.dtype(config.model.dtype))


def objective(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Huber loss of ab / 110 (it turns at one CIE unit), and cross-entropy of the side task's 529 classes.

    The network sees random hints of the true colour. The authors train the two tasks one after the other, which the
    weights `config.loss.soft` and `config.loss.reg` allow, too.
    """
    ab = inputs.lab[..., 1:]
    key = jax.random.fold_in(inputs.rngs["dropout"], 1)
    hints = random_hints(key, ab, stop=inputs.loss_config["hint_stop"])
    outputs, stats = apply_model(model, variables, inputs, method="outputs", hints=hints)
    outputs = cast(HintedOutputs, outputs)
    error = jnp.abs(outputs.ab - ab) / AB_SCALE
    turn = 1 / AB_SCALE
    huber = jnp.where(error < turn, jnp.square(error) / 2, turn * (error - turn / 2))
    cell = grid_class(ab[:, ::LOGITS_STRIDE, ::LOGITS_STRIDE])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs.class_logits, axis=-1), cell[..., None], axis=-1)
    return ModelLosses({"reg": jnp.mean(jnp.sum(huber, axis=-1)), "soft": -jnp.mean(chosen)}, stats)


def grid_class(ab: Float[Array, "*n 2"]) -> Int[Array, "*n"]:
    """Returns the nearest of the 529 points of the grid of step 10 over -110..110, a first."""
    steps = jnp.rint(ab / GRID_STEP).astype(jnp.int32) + GRID_SIDE // 2
    steps = jnp.clip(steps, 0, GRID_SIDE - 1)
    return steps[..., 0] * GRID_SIDE + steps[..., 1]


def random_hints(key: jax.Array, ab: Float[Array, "b h w 2"], *, stop: float) -> Float[Array, "b h w 3"]:
    """Returns hints for `Siggraph17`: a, b (CIE units) and a mask of 1 where there is a hint; all 0 elsewhere.

    Each photo gets a geometric number of patches, each hinted with its mean colour. Their places are normally
    distributed around the middle, with a standard deviation of a quarter of the side.

    Args:
      key: the random key.
      ab: the true colours.
      stop: chance, before each patch, to stop; 1 gives no hints.
    """
    batch, height, width = ab.shape[:3]
    goes_key, side_key, place_key = jax.random.split(key, 3)
    goes = jnp.cumprod(jax.random.bernoulli(goes_key, 1 - stop, (MOST_HINTS, batch)).astype(jnp.int32), axis=0)
    largest = min(LARGEST_PATCH, height, width)
    side = jax.random.randint(side_key, (MOST_HINTS, batch), 1, largest + 1)
    room = jnp.asarray([height, width]) - side[..., None]
    place = room / 2 + (room + 1) / 4 * jax.random.normal(place_key, (MOST_HINTS, batch, 2))
    corner = jnp.clip(place, 0, room).astype(jnp.int32)

    def add(hints: Array, patch: tuple[Array, Array, Array]) -> tuple[Array, None]:
        goes, side, corner = patch
        inside = _between(height, corner[:, 0], side)[:, :, None] & _between(width, corner[:, 1], side)[:, None, :]
        inside = (inside & (goes > 0)[:, None, None])[..., None]
        total = jnp.sum(jnp.where(inside, ab, 0.0), axis=(1, 2), keepdims=True)
        mean = total / jnp.maximum(jnp.sum(inside, axis=(1, 2), keepdims=True), 1)
        hint = jnp.concatenate([mean, jnp.ones((batch, 1, 1, 1))], axis=-1)
        return jnp.where(inside, hint, hints), None

    hints, _ = jax.lax.scan(add, jnp.zeros((batch, height, width, 3)), (goes, side, corner))
    return hints


def _between(length: int, start: Array, count: Array) -> Array:
    """Returns (b, length) booleans, true from `start` for `count` places."""
    index = jnp.arange(length)
    return (index >= start[:, None]) & (index < (start + count)[:, None])


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a bad value of the method's fields."""
    if not 0 <= config.loss.hint_stop <= 1:
        raise UserError(f"config.loss.hint_stop is {config.loss.hint_stop}, but must lie in 0..1.")


def load_published(path: Path) -> PublishedWeights:
    """Reads the published file. Raises `UserError` if it is damaged or holds another network."""
    source, weights = TensorFile(path), PublishedWeights()
    add_blocks(weights, source)
    for name, short, number in (
        ("conv8", "model3short8", 8),
        ("conv9", "model2short9", 9),
        ("conv10", "model1short10", 10),
    ):
        weights.add_conv(f"{name}_up", source.layer(f"model{number}up.0"), transposed=True)
        weights.add_conv(f"{name}_short", source.layer(f"{short}.0"))
        weights.add_conv(f"{name}_2", source.layer(f"model{number}.1"))
    weights.add_conv("conv8_3", source.layer("model8.3"))
    source.add_norm_to(weights, "norm8", "model8.5")
    source.add_norm_to(weights, "norm9", "model9.3")
    weights.add_dense("classes", source.layer("model_class.0"))
    weights.add_dense("ab", source.layer("model_out.0"))
    return weights


METHOD = Method(
    build=build,
    objective=objective,
    fields={
        "loss": dict(
            reg=1100.0,  # above one CIE unit the Huber loss is then 10 |ab / 110|, as with the authors' side task
            hint_stop=0.125,  # chance that no further colour hint is given; 1: none ever
        ),
        "inference": dict(branch="reg"),
    },
    check=check,
    load_published=load_published,
)
