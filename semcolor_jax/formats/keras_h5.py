"""Reads VGG16-Places365 from Kalliatakis' Keras file, `vgg16-places365_weights_tf_dim_ordering_tf_kernels.h5`.

https://github.com/GKalliatakis/Keras-VGG16-places365 publishes it: the weights of the Caffe network, saved by Keras 2
with the layer names of `keras.applications.VGG16`. A group per layer holds two data sets, the kernel and the bias,
with names that vary by Keras version ("block1_conv1/kernel:0", "block1_conv1_W_1:0"), unlike their ranks. Kernels are
laid out as in Flax. As in the publisher's script, the network's input is that of
`keras.applications.vgg16.preprocess_input`: BGR, 0..255, less ImageNet's mean colour.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.formats.vgg16_weights import (
    CONVOLUTIONS,
    DENSE,
    ClassifierWeights,
    LayerArrays,
    from_bgr,
    layer_arrays,
)

RGB_MEAN = (123.68, 116.779, 103.939)
"""ImageNet's mean colour, as `keras.applications.vgg16.preprocess_input` subtracts it."""

_NAMES = {name: f"block{name[4]}_conv{name[6]}" for name in CONVOLUTIONS} | dict(
    zip(DENSE, ("fc1", "fc2", "predictions"), strict=True)
)


def load_keras_vgg16(path: str | os.PathLike[str]) -> ClassifierWeights:
    """Reads a VGG16 with its dense layers from an HDF5 file of Keras 1 or 2: weights alone, or a whole model.

    Raises:
      UserError: the file is missing, damaged, or holds another network.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}.")
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            layers = {name: _layer(root, theirs, name, path) for name, theirs in _NAMES.items()}
    except OSError as error:
        raise UserError(f"{path} is not a readable HDF5 file ({error}): download it again.") from error
    return ClassifierWeights(params=from_bgr(layers), rgb_mean=RGB_MEAN)


def _layer(root: Any, theirs: str, ours: str, path: str | os.PathLike[str]) -> LayerArrays:
    group = root.get(theirs)
    if not isinstance(group, h5py.Group):
        raise UserError(f"{path} has no layer {theirs!r}: it is not the file of VGG16-Places365 with its dense layers.")
    arrays = _arrays(group)
    kernels, biases = ([x for x in arrays if (x.ndim > 1) == matrix] for matrix in (True, False))
    if (len(kernels), len(biases)) != (1, 1):
        raise UserError(f"{path}: layer {theirs!r} holds {len(arrays)} arrays, where one kernel and one bias belong.")
    rank = 2 if ours in DENSE else 4
    return layer_arrays(kernels[0], biases[0], rank=rank, where=f"{path}: layer {theirs!r}")


def _arrays(group: h5py.Group) -> list[np.ndarray]:
    found: list[np.ndarray] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(np.asarray(item))

    group.visititems(visit)
    return found
