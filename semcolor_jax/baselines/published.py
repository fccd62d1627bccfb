"""Loads weight files published by the authors of other methods into this project's networks.

Each method's file maps its own layers (`Method.load_published`); shared code is here. Convolutions are (O, I, H, W) in
PyTorch's files and in Caffe's, transposed ones (I, O, H, W); Caffe's statistics of a batch normalisation are sums,
followed by their divisor. No file is executed: see `formats`.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcolor_jax.baselines.registry import find_method, method_names
from semcolor_jax.errors import UserError
from semcolor_jax.formats.caffe import read_caffemodel
from semcolor_jax.formats.caffe_h5 import is_hdf5, read_caffe_h5
from semcolor_jax.formats.torch_pth import read_pth

EPSILON = 1e-5
"""Of every batch normalisation in these networks, as in PyTorch and Caffe."""

Layer = tuple[np.ndarray, np.ndarray]
"""Kernel and bias, as in the file."""

LayerTree = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass
class PublishedWeights:
    """The variables of a network, and the config fields ("model.gray_mean") that these weights require."""

    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    params: LayerTree = dataclasses.field(default_factory=dict)
    batch_stats: LayerTree = dataclasses.field(default_factory=dict)

    def add_conv(self, name: str, layer: Layer, *, transposed: bool = False) -> None:
        """Adds a convolution; a transposed one is flipped, as Flax expects.

        Raises:
          UserError: the kernel does not have four axes.
        """
        kernel, bias = layer
        if kernel.ndim != 4:
            raise UserError(f"The weights have a kernel {kernel.shape} for layer {name!r}, which is no convolution.")
        kernel = kernel.transpose(2, 3, 0, 1)[::-1, ::-1] if transposed else kernel.transpose(2, 3, 1, 0)
        self._add(name, kernel=kernel, bias=bias)

    def add_dense(self, name: str, layer: Layer) -> None:
        """Adds a dense layer, which the file may store as a convolution of size 1."""
        kernel, bias = layer
        self._add(name, kernel=kernel.reshape(len(kernel), -1).T, bias=bias)

    def add_norm(self, name: str, *, mean: np.ndarray, variance: np.ndarray, affine: Layer | None = None) -> None:
        """Adds a batch normalisation; `affine` is its scale and bias, None if the network's has none."""
        if affine is not None:
            self._add(name, scale=affine[0], bias=affine[1])
        self.batch_stats[name] = {"mean": np.asarray(mean, np.float32), "var": np.asarray(variance, np.float32)}

    def _add(self, name: str, **arrays: np.ndarray) -> None:
        self.params[name] = {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}


def load_published(method: str, path: Path) -> PublishedWeights:
    """Reads the published weights of a method.

    Raises:
      UserError: the file is missing, damaged or holds another network; or the method has no published weights.
    """
    load = find_method(method).load_published
    if load is None:
        others = [name for name in method_names() if find_method(name).load_published]
        raise UserError(f"There are no published weights of the method {method!r}; give one of: {', '.join(others)}.")
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    return load(path)


def is_pytorch(path: Path) -> bool:
    """Files of `torch.save` are zip archives or, before 2020, pickles of protocol 2."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")


class TensorFile:
    """Named tensors: a PyTorch state dict, or an `.npz` with such names."""

    def __init__(self, path: Path):
        """Reads the file. Raises `UserError` where it cannot be read."""
        self.path = path
        self._arrays = _read_npz(path) if path.suffix == ".npz" else read_pth(path)

    def has(self, name: str) -> bool:
        """Returns whether there is such a tensor."""
        return name in self._arrays

    def array(self, name: str) -> np.ndarray:
        """Returns a tensor. Raises `UserError` where there is none."""
        if name not in self._arrays:
            raise UserError(f"{self.path} has no tensor {name!r}: it holds another network.")
        return self._arrays[name]

    def layer(self, name: str) -> Layer:
        """Returns "NAME.weight" and "NAME.bias". Raises `UserError` where there are none."""
        return self.array(f"{name}.weight"), self.array(f"{name}.bias")

    def add_norm_to(self, weights: PublishedWeights, name: str, theirs: str) -> None:
        """Adds the batch normalisation that the file calls `theirs`. Raises `UserError` where there is none."""
        mean, variance = self.array(f"{theirs}.running_mean"), self.array(f"{theirs}.running_var")
        weights.add_norm(name, mean=mean, variance=variance, affine=self.layer(theirs))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"The weight file {path} is not a whole .npz ({error}): get it again.") from error


class CaffeFile:
    """The layers of a `.caffemodel` or a `.caffemodel.h5`."""

    def __init__(self, path: Path):
        """Reads the file. Raises `UserError` where it cannot be read."""
        self.path = path
        self._layers = read_caffe_h5(path) if is_hdf5(path) else read_caffemodel(path)

    def has(self, name: str) -> bool:
        """Returns whether there is such a layer."""
        return name in self._layers

    def layer(self, *names: str) -> Layer:
        """Returns the layer under the first of `names` that the file has. Raises `UserError` if it has none."""
        kernel, bias = self._blobs(names, count=2)
        return kernel, bias.reshape(-1)

    def statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and variance of a batch normalisation. Raises `UserError` where there is none."""
        mean, variance, divisor = self._blobs([name], count=3)
        factor = float(divisor.reshape(-1)[0]) or 1.0
        return mean.reshape(-1) / factor, variance.reshape(-1) / factor

    def _blobs(self, names: Sequence[str], *, count: int) -> list[np.ndarray]:
        name = next((name for name in names if self.has(name)), names[0])
        blobs = self._layers.get(name, [])
        if len(blobs) != count:
            raise UserError(f"{self.path} has {len(blobs)} arrays in layer {name!r}, where {count} belong.")
        return blobs
