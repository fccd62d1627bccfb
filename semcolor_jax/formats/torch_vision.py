"""Reads ImageNet networks from PyTorch weight files: VGG16, and Inception-v3 in two versions.

torchvision publishes `vgg16-397923af.pth` and `inception_v3_google-1a9a5a14.pth`; pytorch-fid publishes the TensorFlow
Inception of 2015, with which FID was defined, converted to torchvision's layer names, as
`pt_inception-2015-12-05-6726825d.pth`. PyTorch lays kernels out as (O, I, H, W), dense ones as (O, I), and flattens
maps in the order (C, H, W).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.formats.torch_pth import read_pth
from semcolor_jax.formats.vgg16_weights import CONVOLUTIONS, DENSE, ClassifierWeights, LayerArrays, layer_arrays

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of red, green and blue in 0..1, as torchvision normalises photos."""

# Places in torchvision's `features`, where ReLUs and poolings count as well, and in `classifier`.
_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_VGG_NAMES = dict(zip(CONVOLUTIONS, (f"features.{i}" for i in _FEATURES), strict=True)) | dict(
    zip(DENSE, ("classifier.0", "classifier.3", "classifier.6"), strict=True)
)

_BATCH_NORM_EPSILON = 1e-3
_INCEPTION_CONVOLUTIONS = 94
"""Without those of the auxiliary classifier."""


def load_torch_vgg16(path: str | os.PathLike[str]) -> ClassifierWeights:
    """Reads torchvision's VGG16 with its dense layers.

    Division by the deviation is folded into the first kernel, so photos only need the mean subtracted.

    Raises:
      UserError: the file is missing, damaged, or holds another network.
    """
    tensors = read_pth(path)
    layers = {ours: _vgg_layer(tensors, theirs, ours, path) for ours, theirs in _VGG_NAMES.items()}
    first, dense = layers[CONVOLUTIONS[0]], layers["fc6"]
    if first["kernel"].shape[2] != 3:
        raise UserError(f"{path}: the first convolution has {first['kernel'].shape[2]} channels instead of 3.")
    scale = 255 * np.array(IMAGENET_DEVIATION, np.float32)
    layers[CONVOLUTIONS[0]] = {**first, "kernel": first["kernel"] / scale[:, None]}
    channels = layers[CONVOLUTIONS[-1]]["bias"].size
    side = math.isqrt(len(dense["kernel"]) // channels)
    if channels * side**2 != len(dense["kernel"]):
        raise UserError(
            f"{path}: classifier.0 has {len(dense['kernel'])} inputs, no square map of {channels} channels."
        )
    kernel = dense["kernel"].reshape(channels, side, side, -1).transpose(1, 2, 0, 3).reshape(dense["kernel"].shape)
    layers["fc6"] = {**dense, "kernel": np.ascontiguousarray(kernel)}
    red, green, blue = (255 * mean for mean in IMAGENET_MEAN)
    return ClassifierWeights(params=layers, rgb_mean=(red, green, blue))


def load_inception(path: str | os.PathLike[str]) -> dict[str, LayerArrays]:
    """Reads an Inception-v3 with torchvision's layer names, folding batch normalisations into the convolutions.

    Returns:
      For each convolution, such as "Mixed_5b.branch1x1", a kernel (H, W, I, O) and a bias (O,), float32. The
      classifier and the auxiliary one are left out.

    Raises:
      UserError: the file is missing, damaged, or holds another network.
    """
    tensors = read_pth(path)
    suffix = ".conv.weight"
    names = [
        name.removesuffix(suffix) for name in tensors if name.endswith(suffix) and not name.startswith("AuxLogits")
    ]
    if len(names) != _INCEPTION_CONVOLUTIONS:
        raise UserError(
            f"{path} has {len(names)} convolutions, but Inception-v3 has {_INCEPTION_CONVOLUTIONS}: "
            "get the published file."
        )
    return {name: _folded(tensors, name, path) for name in names}


def _folded(tensors: Mapping[str, np.ndarray], name: str, path: str | os.PathLike[str]) -> LayerArrays:
    try:
        kernel = tensors[f"{name}.conv.weight"].astype(np.float64)
        weight, bias, mean, variance = (
            tensors[f"{name}.bn.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + _BATCH_NORM_EPSILON)
        kernel, bias = kernel.transpose(2, 3, 1, 0) * scale, bias - mean * scale
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: the layer {name} is not one of Inception-v3 ({error}).") from error
    return layer_arrays(kernel, bias, rank=4, where=f"{path}: layer {name!r}")


def _vgg_layer(tensors: Mapping[str, np.ndarray], theirs: str, ours: str, path: str | os.PathLike[str]) -> LayerArrays:
    try:
        kernel, bias = tensors[f"{theirs}.weight"], tensors[f"{theirs}.bias"]
    except KeyError as error:
        raise UserError(f"{path} has no {error}: it is not torchvision's VGG16.") from error
    rank = 2 if ours in DENSE else 4
    if kernel.ndim == rank:
        kernel = kernel.transpose((1, 0) if rank == 2 else (2, 3, 1, 0))
    return layer_arrays(kernel, bias, rank=rank, where=f"{path}: layer {theirs!r}")
