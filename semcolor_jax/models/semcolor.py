"""The paper's network (Nguyen-Quynh et al. 2020, section IV, Fig. 8): a U-Net, a scene branch, three heads.

    X_L --E--> X_enc --D--> X_map --+--> color_logits   F_soft  313 bins
                 |                  +--> ab             F_reg   tanh
                 |                  +--> seg_logits     F_seg   183 classes
                 +--> pooling, two dense layers --> scene_logits   F_clas  365 scenes

Parameters at the paper's width 64 with all branches (tests/models/test_semcolor.py has the arithmetic):

    part                      vgg_like        vgg16
    encoder                 18 846 016   14 714 688
    decoder                 15 670 080   13 310 784
    scene branch               712 045      449 901
    soft, reg, seg heads        32 370       32 370
    total                   35 260 511   28 507 743
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32

from semcolor_jax.models.decoder import Decoder
from semcolor_jax.models.encoders import make_encoder
from semcolor_jax.models.layers import enlarge, mean_over_image, pad_to_stride

BRANCHES = ("soft", "reg", "scene", "seg")
COLOR_BINS = 313  # Q, the quantised ab of Zhang et al. 2016
SEG_CLASSES = 183  # S, COCO-Stuff ids 1..182 and "unlabeled"
SCENES = 365  # C, Places365
AB_SCALE = 110.0  # CIE units at tanh = 1


@flax.struct.dataclass
class Features:
    """Outputs of encoder, decoder and scene branch: all but the pixel-wise heads."""

    map: jax.Array  # X_map (B, ceil(H / output_stride), ceil(W / output_stride), .), compute dtype
    scene_logits: jax.Array | None = None  # (B, 365) float32


class Enlargement(NamedTuple):
    """How colours predicted at a lower resolution are enlarged to the image."""

    factor: int  # by which both sides grow, bilinearly
    height: int  # of the image, to which the result is cropped
    width: int


@flax.struct.dataclass
class Predictions:
    """What a network returns, all float32; None where a branch is off."""

    ab: jax.Array | None = None  # (B, H, W, 2), CIE units in -110..110
    color_logits: jax.Array | None = None  # (B, H, W, 313), before the softmax; smaller with an `enlargement`
    seg_logits: jax.Array | None = None  # (B, H, W, 183), before the softmax
    scene_logits: jax.Array | None = None  # (B, 365), before the softmax
    enlargement: Enlargement | None = flax.struct.field(pytree_node=False, default=None)  # None: of the image's size
    ab_title: str = flax.struct.field(pytree_node=False, default="regression")  # how `ab` came about, for reports


class SceneHead(nn.Module):
    """H_clas: two dense layers on the pooled X_enc, in float32."""

    features: int

    @nn.compact
    def __call__(self, pooled: Float32[Array, "B C"]) -> Float32[Array, "B 365"]:
        """Returns the logits of the Places365 categories."""
        x = nn.Dense(self.features, kernel_init=nn.initializers.he_normal(), name="hidden")(pooled)
        return _head(SCENES, name="logits")(nn.relu(x))


class SemColorNet(nn.Module):
    """Lightness of any size to colour, segmentation and scene.

    `__call__` is `features` followed by `heads`. Either can be applied alone, by `model.apply(variables,
    x_map, method=model.heads)`, so a loss may run over X_map in chunks and never hold a whole batch's logits.

    Attributes:
      width: filters of the first level; 2, 4, 8 and 16 times as many follow. VGG16's own are fixed.
      encoder: "vgg_like" or "vgg16", see `encoders`.
      branches: which of "soft", "reg", "scene", "seg" to build; the others have no parameters.
      scene_features: width of the scene branch's hidden layer.
      dtype: compute type of the convolutions of encoder and decoder. Parameters, batch statistics, the
        heads and all predictions are float32.
      frozen_blocks: how many of the encoder's five blocks, from the first on, get no gradient.
      output_stride: 1 as in the paper, or 2, 4, 8: X_map has 1/output_stride of the resolution, because the
        last decoder blocks are left out. `features` and `heads` then work at that resolution; `__call__` upsamples
        X_map to full size.
      remat: which blocks are recomputed in the backward pass: "none", "decoder" or "all".
    """

    width: int = 64
    encoder: str = "vgg_like"
    branches: tuple[str, ...] = BRANCHES
    scene_features: int = 512
    dtype: DTypeLike = jnp.float32
    frozen_blocks: int = 0
    output_stride: int = 1
    remat: str = "none"

    def setup(self):
        """Builds the parts that `encoder` and `branches` select."""
        if unknown := set(self.branches) - set(BRANCHES):
            raise ValueError(f"unknown branches {sorted(unknown)}")
        if self.output_stride not in (1, 2, 4, 8):
            raise ValueError(f"output_stride is {self.output_stride}, but must be 1, 2, 4 or 8")
        self.backbone = make_encoder(
            self.encoder,
            width=self.width,
            dtype=self.dtype,
            frozen_blocks=self.frozen_blocks,
            remat=self.remat == "all",
        )
        self.decoder = Decoder(
            width=self.width, dtype=self.dtype, output_stride=self.output_stride, remat=self.remat != "none"
        )
        if "scene" in self.branches:
            self.scene_head = SceneHead(self.scene_features)
        if "soft" in self.branches:
            self.soft_head = _head(COLOR_BINS)
        if "reg" in self.branches:
            self.reg_head = _head(2)
        if "seg" in self.branches:
            self.seg_head = _head(SEG_CLASSES)

    def __call__(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Predictions:
        """Predicts from L, 0..100; any H and W from 1 up.

        With `train`, batch normalisation uses the batch's statistics and updates its running ones: apply with
        `mutable=["batch_stats"]`.
        """
        features = self.features(lightness, train=train)
        height, width = lightness.shape[1:3]
        x_map = enlarge(features.map, self.output_stride)[:, :height, :width]
        return dataclasses.replace(self.heads(x_map), scene_logits=features.scene_logits)

    def features(self, lightness: Float[Array, "B H W 1"], *, train: bool) -> Features:
        """Returns X_map, cropped to the cells that the image reaches into, and the scene logits.

        The image is mirrored up to multiples of 16, and the scene branch pools over the image alone.
        """
        height, width = lightness.shape[1:3]
        encoding = self.backbone(pad_to_stride(lightness.astype(jnp.float32)), train=train)
        scene_logits = None
        if "scene" in self.branches:
            scene_logits = self.scene_head(mean_over_image(encoding.x_enc, height=height, width=width))
        cells_down, cells_across = (-(-side // self.output_stride) for side in (height, width))
        x_map = self.decoder(encoding)[:, :cells_down, :cells_across]
        return Features(map=x_map, scene_logits=scene_logits)

    def heads(self, x_map: Float[Array, "B H W width"]) -> Predictions:
        """Returns the pixel-wise predictions of X_map or of any part of it: each pixel stands for itself."""
        x = x_map.astype(jnp.float32)
        return Predictions(
            ab=AB_SCALE * jnp.tanh(self.reg_head(x)) if "reg" in self.branches else None,
            color_logits=self.soft_head(x) if "soft" in self.branches else None,
            seg_logits=self.seg_head(x) if "seg" in self.branches else None,
        )


def _head(features: int, *, name: str | None = None) -> nn.Dense:
    """A linear read-out: on a feature map, `Dense` is the 1x1 convolution.

    The small kernel makes training start at ab = 0 and at uniform distributions.
    """
    return nn.Dense(features, kernel_init=nn.initializers.normal(0.01), name=name)
