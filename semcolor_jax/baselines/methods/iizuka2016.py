"""Comparison method: Iizuka, Simo-Serra, Ishikawa: Let there be Color! (SIGGRAPH 2016).

    photo ----- low-level /8 --- mid-level --+
                  (shared)                   +-- fusion -- colorization x8 --> ab
    224 x 224 - low-level /8 --- global -----+
                                   +-- classification --> scene_logits

All convolutions are 3x3, except the fusion's. The layers follow two independent re-implementations;
docs/comparison_methods.md says where they differ.

Published weights: `colornet.t7` of satoshiiizuka/siggraph2016_colorization, a Torch7 file, which no maintained package
reads. `tools/iizuka_t7_to_npz.py` turns it into an `.npz` of named arrays, which `load_published` reads.
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
from flax.traverse_util import unflatten_dict
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from semcolor_jax.baselines.layers import conv, grey_of, linear, norm, scaled
from semcolor_jax.baselines.published import PublishedWeights, TensorFile
from semcolor_jax.baselines.registry import Method
from semcolor_jax.errors import UserError
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.objective import Inputs, ModelLosses, apply_model
from semcolor_jax.models.layers import pad_to_stride
from semcolor_jax.models.semcolor import SCENES, Predictions
from semcolor_jax.ops.convolution import upsample

STRIDE = 8
"""Stride of the local features, into which global ones are fused."""

AB_LIMIT = 100.0
"""Output 0 of the sigmoid is ab = -100, output 1 is 100."""

CONVOLUTIONS = {
    "low_level": ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1)),
    "mid_level": ((512, 1), (256, 1)),
    "global": ((512, 2), (512, 1), (512, 2), (512, 1)),
    "color1": ((128, 1),),
    "color2": ((64, 1), (64, 1)),
    "color3": ((32, 1),),
}
"""Channels and stride of each convolution, by the part of the network."""

GLOBAL_DENSE = (1024, 512, 256)

GLOBAL_STRIDE = 32
"""Stride of the global features before the dense layers."""


class Convolutions(nn.Module):
    """Convolution, batch normalisation if `batch_norm`, and ReLU, for each of `layers`."""

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
    """Lightness to ab, with global features of the image fused into the local ones.

    Attributes:
      width: channels of the first layer; 64 is the published network.
      batch_norm: after every convolution, as the paper says; the two re-implementations disagree.
      global_side: side of the square copy for the global features, 224 as published. A parameter count depends on it,
            so it stays as in training.
      input_mean: if given, the input is the sRGB grey (0..1) of the lightness minus this, as for the published weights;
            else L / 100 - 0.5.
      scenes: whether there is a scene classifier; the published file has none.
      dtype: compute type of the convolutions.
    """

    width: int = 64
    batch_norm: bool = True
    global_side: int = 224
    input_mean: float | None = None
    scenes: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Predictions:
        """Predicts ab and scene logits from L, 0..100; any H and W from 1 up."""
        height, width = lightness.shape[1:3]
        x = network_input(lightness.astype(jnp.float32), mean=self.input_mean)
        low_level = self._convolutions("low_level")
        local = low_level(pad_to_stride(x, stride=STRIDE), train=train)
        if (height, width) == (self.global_side, self.global_side):
            shared = local
        else:
            whole = jax.image.resize(x, (x.shape[0], self.global_side, self.global_side, 1), "bilinear")
            shared = low_level(whole, train=train)
        mid = self._convolutions("mid_level")(local, train=train)
        picture = self._global_features(shared, train=train)
        scene_logits = None
        if self.scenes:
            scene_logits = linear(SCENES, name="scene_logits")(self._dense(picture, 256, name="scene_hidden"))
        ab = self._colorize(self._fuse(mid, picture), train=train)
        return Predictions(ab=ab[:, :height, :width], scene_logits=scene_logits)

    def _global_features(self, shared: Float[Array, "B h w c"], *, train: bool) -> Float[Array, "B d"]:
        x = self._convolutions("global")(shared, train=train)
        x = x.reshape(x.shape[0], -1)
        for index, channels in enumerate(GLOBAL_DENSE, start=1):
            x = self._dense(x, channels, name=f"global_dense{index}")
        return x

    def _fuse(self, mid: Float[Array, "B h w c"], picture: Float[Array, "B d"]) -> Float[Array, "B h w c"]:
        """Appends the global features to the local ones at every pixel, and mixes them."""
        everywhere = jnp.broadcast_to(picture[:, None, None], (*mid.shape[:3], picture.shape[-1]))
        both = jnp.concatenate([mid, everywhere.astype(mid.dtype)], axis=-1)
        channels = scaled(256, width=self.width)
        return nn.relu(conv(both, channels, name="fusion", kernel=1, dtype=self.dtype))

    def _colorize(self, fused: Float[Array, "B h w c"], *, train: bool) -> Float[Array, "B H W 2"]:
        x = self._convolutions("color1")(fused, train=train)
        x = self._convolutions("color2")(upsample(x), train=train)
        x = self._convolutions("color3")(upsample(x), train=train)
        x = nn.sigmoid(conv(x, 2, name="ab", dtype=jnp.float32))
        return AB_LIMIT * (2 * upsample(x) - 1)

    def _convolutions(self, part: str) -> Convolutions:
        layers = CONVOLUTIONS[part]
        return Convolutions(layers, width=self.width, batch_norm=self.batch_norm, dtype=self.dtype, name=part)

    def _dense(self, x: Array, channels: int, *, name: str) -> Array:
        layer = nn.Dense(
            scaled(channels, width=self.width), kernel_init=nn.initializers.he_normal(), dtype=self.dtype, name=name
        )
        return nn.relu(layer(x)).astype(jnp.float32)


def network_input(lightness: Float[Array, "B H W 1"], *, mean: float | None) -> Float[Array, "B H W 1"]:
    """Returns L / 100 - 0.5, or the sRGB grey (0..1) of the lightness minus `mean`, if given."""
    return lightness / 100 - 0.5 if mean is None else grey_of(lightness) - mean


def build(config: ConfigDict) -> nn.Module:
    """Returns the network of `config.model`."""
    model = config.model
    return Iizuka2016(
        width=model.width,
        batch_norm=model.batch_norm,
        global_side=model.global_side,
        input_mean=model.input_mean if model.input == "grey" else None,
        scenes=model.scenes,
        dtype=jnp.dtype(model.dtype),
    )


def objective(model: nn.Module, variables: Mapping[str, Any], inputs: Inputs) -> ModelLosses:
    """Mean squared error of ab scaled to 0..1, and the scene's cross-entropy (its published weight is 1 / 300).

    The scene is read from the global features, so its gradient reaches them and the low-level ones, but not the
    mid-level layers or the colorization.
    """
    predictions, stats = apply_model(model, variables, inputs)
    predictions = cast(Predictions, predictions)
    error = (cast(Array, predictions.ab) - inputs.lab[..., 1:]) / (2 * AB_LIMIT)
    terms = {"reg": jnp.mean(jnp.square(error))}
    if predictions.scene_logits is not None:
        terms["scene"] = losses.scene_loss(
            predictions.scene_logits, index=inputs.batch["scene_index"], prob=inputs.batch["scene_prob"]
        )
    return ModelLosses(terms, stats)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for a bad value of the method's fields."""
    side = config.model.global_side
    if side < GLOBAL_STRIDE or side % GLOBAL_STRIDE:
        raise UserError(f"config.model.global_side is {side}, but must be a multiple of {GLOBAL_STRIDE}, above 0.")
    if config.model.input not in ("lightness", "grey"):
        raise UserError(f"config.model.input is {config.model.input!r}, but must be one of: lightness, grey.")


def load_published(path: Path) -> PublishedWeights:
    """Reads the converted form of the published file: named arrays in an `.npz`, or a state dict in a `.pth`.

    For each convolution and dense layer NAME.weight, (O, I, H, W) or (O, I), and NAME.bias. The names are those of
    `layer_shapes`; with batch normalisation, NAME.norm1 comes with NAME.conv1 and has weight, bias, running_mean and
    running_var. The fusion's inputs are the global features, then the mid-level ones, as in the paper; the first dense
    layer's are (C, H, W). "mean" is what the authors subtract from the grey input.

    Raises:
      UserError: the file is the Torch7 one, is damaged, or lacks a layer.
    """
    if path.suffix == ".t7":
        raise UserError(
            f"{path} is a Torch7 file, which no maintained Python package reads: turn it into an .npz by "
            f"`python tools/iizuka_t7_to_npz.py {path} {path.with_suffix('.npz').name}` (docs/comparison_methods.md), "
            "and convert that."
        )
    source, weights = TensorFile(path), PublishedWeights()
    batch_norm, scenes = source.has("low_level.norm1.weight"), source.has("scene_logits.weight")
    for part, layers in CONVOLUTIONS.items():
        for index in range(1, 1 + len(layers)):
            weights.add_conv(f"{part}/conv{index}", source.layer(f"{part}.conv{index}"))
            if batch_norm:
                source.add_norm_to(weights, f"{part}/norm{index}", f"{part}.norm{index}")
    kernel, bias = source.layer("fusion")
    picture, mid = np.split(kernel.reshape(*kernel.shape[:2], 1, 1), 2, axis=1)
    weights.add_conv("fusion", (np.concatenate([mid, picture], axis=1), bias))
    weights.add_conv("ab", source.layer("ab"))
    kernel, bias = source.layer("global_dense1")
    channels = source.array("global.conv4.bias").size
    cells = math.isqrt(kernel.shape[1] // channels)
    kernel = kernel.reshape(-1, channels, cells, cells).transpose(0, 2, 3, 1)
    weights.add_dense("global_dense1", (kernel, bias))
    for name in ("global_dense2", "global_dense3", *(("scene_hidden", "scene_logits") if scenes else ())):
        weights.add_dense(name, source.layer(name))
    weights.settings = {
        "model.input": "grey",
        "model.input_mean": float(source.array("mean")),
        "model.batch_norm": batch_norm,
        "model.scenes": scenes,
        "model.global_side": cells * GLOBAL_STRIDE,
    }
    weights.params = unflatten_dict(weights.params, sep="/")
    weights.batch_stats = unflatten_dict(weights.batch_stats, sep="/")
    return weights


def layer_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shape of every published kernel (O, I, H, W) or (O, I), by its name in the converted file."""
    shapes: dict[str, tuple[int, ...]] = {}
    sources = {"low_level": 1, "mid_level": 512, "global": 512, "color1": 256, "color2": 128, "color3": 64}
    for part, layers in CONVOLUTIONS.items():
        before = sources[part]
        for index, (channels, _) in enumerate(layers, start=1):
            shapes[f"{part}.conv{index}"] = (channels, before, 3, 3)
            before = channels
    inputs = (512 * (224 // GLOBAL_STRIDE) ** 2, *GLOBAL_DENSE)
    for index, channels in enumerate(GLOBAL_DENSE, start=1):
        shapes[f"global_dense{index}"] = (channels, inputs[index - 1])
    return shapes | {"fusion": (256, 512, 1, 1), "ab": (2, 32, 3, 3)}


METHOD = Method(
    build=build,
    objective=objective,
    fields={
        "model": dict(
            global_side=224,  # side of the copy for the global features, a multiple of 32
            batch_norm=True,  # after each convolution
            input="lightness",  # L / 100 - 0.5; "grey": sRGB's grey minus input_mean, as the published weights expect
            input_mean=0.5,  # only for the input "grey"
            scenes=True,  # whether there is a scene classifier; the published weights have none
        ),
        "loss": dict(scene=1 / 300),
        "inference": dict(branch="reg"),
    },
    check=check,
    labels=lambda config: ("scene",) if config.model.scenes else (),
    load_published=load_published,
)
