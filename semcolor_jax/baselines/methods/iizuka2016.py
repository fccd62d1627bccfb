"""Iizuka, Simo-Serra, Ishikawa: Let there be Color! (SIGGRAPH 2016).

    photo ----- low-level /8 --- mid-level --+
                  (shared)                   +-- fusion -- colorization x8 --> ab
    224 x 224 - low-level /8 --- global -----+
                                   +-- classification --> scene_logits

All convolutions are 3x3. The layers are those of two independent re-implementations; docs/comparison_methods.md says
where they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from semcolor_jax.baselines.layers import conv, linear, norm, scaled
from semcolor_jax.baselines.published import PublishedWeights
from semcolor_jax.baselines.registry import Method
from semcolor_jax.errors import UserError
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.objective import Inputs, ModelLosses, apply_in_training
from semcolor_jax.models.layers import pad_to_stride
from semcolor_jax.models.semcolor import SCENES, Predictions
from semcolor_jax.ops.convolution import upsample

STRIDE = 8
"""Of the features that global and local ones are fused in."""

AB_LIMIT = 100.0
"""Output 0 of the sigmoid is ab = -100, output 1 is 100."""

LOW_LEVEL = ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))
MID_LEVEL = ((512, 1), (256, 1))
GLOBAL = ((512, 2), (512, 1), (512, 2), (512, 1))
"""Channels and stride of each convolution."""


class Convolutions(nn.Module):
    """Convolution, batch normalisation if `batch_norm`, and ReLU, as often as `layers` says."""

    layers: tuple[tuple[int, int], ...]  # channels (published) and stride
    width: int
    batch_norm: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w c"]:
        """Returns the features; the strides divide the resolution, rounding up."""
        for index, (channels, stride) in enumerate(self.layers, start=1):
            x = conv(x, scaled(channels, width=self.width), name=f"conv{index}", dtype=self.dtype, stride=stride)
            if self.batch_norm:
                x = norm(x, name=f"norm{index}", train=train, dtype=self.dtype)
            x = nn.relu(x)
        return x


class Iizuka2016(nn.Module):
    """Lightness to ab, with features of the whole picture fused into those of every place.

    Attributes:
      width: channels of the first layer; 64 is the published network.
      batch_norm: after every convolution, as the paper says; the two re-implementations do not agree.
      global_side: of the square copy that the global features are taken from; the published one is 224. A
        parameter count depends on it, so it stays what it was in training.
      dtype: compute type of the convolutions.
    """

    width: int = 64
    batch_norm: bool = True
    global_side: int = 224
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Predictions:
        """Predicts ab and scene logits from L, 0..100; any H and W from 1 up."""
        height, width = lightness.shape[1:3]
        x = lightness.astype(jnp.float32) / 100 - 0.5
        low_level = self._convolutions(LOW_LEVEL, name="low_level")
        local = low_level(pad_to_stride(x, stride=STRIDE), train=train)
        if (height, width) == (self.global_side, self.global_side):
            shared = local
        else:
            whole = jax.image.resize(x, (x.shape[0], self.global_side, self.global_side, 1), "bilinear")
            shared = low_level(whole, train=train)
        mid = self._convolutions(MID_LEVEL, name="mid_level")(local, train=train)
        picture = self._global_features(shared, train=train)
        scene_logits = linear(SCENES, name="scene_logits")(self._dense(picture, 256, name="scene_hidden"))
        ab = self._colorize(self._fuse(mid, picture), train=train)
        return Predictions(ab=ab[:, :height, :width], scene_logits=scene_logits)

    def _global_features(self, shared: Float[Array, "B h w c"], *, train: bool) -> Float[Array, "B c"]:
        x = self._convolutions(GLOBAL, name="global")(shared, train=train)
        x = x.reshape(x.shape[0], -1)
        for index, channels in enumerate((1024, 512, 256), start=1):
            x = self._dense(x, channels, name=f"global_dense{index}")
        return x

    def _fuse(self, mid: Float[Array, "B h w c"], picture: Float[Array, "B c"]) -> Float[Array, "B h w c"]:
        """Concatenates the picture's features to those of every place, and mixes them."""
        everywhere = jnp.broadcast_to(picture[:, None, None], (*mid.shape[:3], picture.shape[-1]))
        both = jnp.concatenate([mid, everywhere.astype(mid.dtype)], axis=-1)
        channels = scaled(256, width=self.width)
        return nn.relu(conv(both, channels, name="fusion", kernel=1, dtype=self.dtype))

    def _colorize(self, fused: Float[Array, "B h w c"], *, train: bool) -> Float[Array, "B H W 2"]:
        x = self._convolutions(((128, 1),), name="color1")(fused, train=train)
        x = self._convolutions(((64, 1), (64, 1)), name="color2")(upsample(x), train=train)
        x = self._convolutions(((32, 1),), name="color3")(upsample(x), train=train)
        x = nn.sigmoid(conv(x, 2, name="ab", dtype=jnp.float32))
        return AB_LIMIT * (2 * upsample(x) - 1)

    def _convolutions(self, layers: tuple[tuple[int, int], ...], *, name: str) -> Convolutions:
        return Convolutions(layers, width=self.width, batch_norm=self.batch_norm, dtype=self.dtype, name=name)

    def _dense(self, x: Array, channels: int, *, name: str) -> Array:
        layer = nn.Dense(
            scaled(channels, width=self.width), kernel_init=nn.initializers.he_normal(), dtype=self.dtype, name=name
        )
        return nn.relu(layer(x)).astype(jnp.float32)


def build(config: ConfigDict) -> nn.Module:
    """Returns the network of `config.model`."""
    model = config.model
    return Iizuka2016(
        width=model.width,
        batch_norm=model.batch_norm,
        global_side=model.global_side,
        dtype=jnp.dtype(model.dtype),
    )


def objective(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Mean squared error of ab scaled to 0..1, and the scene's cross-entropy (its published weight is 1 / 300).

    The scene is read from the global features, so its gradient reaches them and the low-level ones, and neither the
    mid-level layers nor the colorization.
    """
    predictions, stats = apply_in_training(model, variables, inputs)
    predictions = cast(Predictions, predictions)
    error = (cast(Array, predictions.ab) - inputs.lab[..., 1:]) / (2 * AB_LIMIT)
    scene = losses.scene_loss(
        cast(Array, predictions.scene_logits), index=inputs.batch["scene_index"], prob=inputs.batch["scene_prob"]
    )
    return ModelLosses({"reg": jnp.mean(jnp.square(error)), "scene": scene}, stats)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a bad value of the method's fields."""
    side = config.model.global_side
    if side < 32 or side % 32:
        raise UserError(f"config.model.global_side is {side}, but must be a multiple of 32, above 0.")


def load_published(path: Path) -> PublishedWeights:
    """Raises `UserError`: the authors published a Torch7 file."""
    raise UserError(
        f"{path} cannot be converted: the published weights of iizuka2016 are a Torch7 file, and no maintained Python "
        "package reads that format; train the method with configs/iizuka2016.py instead."
    )


METHOD = Method(
    build=build,
    objective=objective,
    fields={
        "model": dict(
            global_side=224,  # side of the copy that the global features come from, a multiple of 32
            batch_norm=True,  # after each convolution
        ),
        "loss": dict(scene=1 / 300),
        "inference": dict(branch="reg"),
    },
    check=check,
    load_published=load_published,
)
