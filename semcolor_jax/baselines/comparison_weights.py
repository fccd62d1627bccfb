"""The published weights of the comparison methods, as the variables of our networks.

    method        file                                                 layout
    zhang2016     colorization_release_v2-9b330a0b.pth                 PyTorch (richzhang/colorization, `eccv16`)
                  colorization_release_v2.caffemodel                   Caffe
    siggraph17    siggraph17-df00044c.pth                              PyTorch (the same repository)
    larsson2016   autocolorize.caffemodel.h5, or a .caffemodel         Caffe (gustavla/autocolorize)
    iizuka2016    colornet.t7                                          Torch7: refused

Names and shapes are those of the authors' network definitions. Convolutions are (O, I, H, W) in both layouts,
transposed ones (I, O, H, W); Caffe's statistics of a batch normalisation are sums, with their divisor behind them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcolor_jax.color import AB_BINS
from semcolor_jax.errors import UserError
from semcolor_jax.formats.caffe import read_caffemodel
from semcolor_jax.formats.caffe_h5 import is_hdf5, read_caffe_h5
from semcolor_jax.formats.torch_pth import read_pth

LayerTree = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass
class NetworkWeights:
    """The variables of a network, and the config fields ("model.gray_mean") that belong to them."""

    settings: Mapping[str, Any]
    params: LayerTree = dataclasses.field(default_factory=dict)
    batch_stats: LayerTree = dataclasses.field(default_factory=dict)


_CONVOLUTIONS = (2, 2, 3, 3, 3, 3, 3)
"""Of the seven blocks of Zhang et al."""

_VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)

_EPSILON = 1e-5


def load_published(method: str, path: str | os.PathLike[str]) -> NetworkWeights:
    """Reads the published weights of a comparison method.

    Raises:
      UserError: the file is missing, damaged, holds another network, or is one that cannot be read.
    """
    if not Path(path).is_file():
        raise UserError(f"There is no file {path}.")
    if method not in LOADERS:
        raise UserError(f"There are no published weights of the method {method!r}; give one of: {', '.join(LOADERS)}.")
    return LOADERS[method](path)


def _zhang2016(path: str | os.PathLike[str]) -> NetworkWeights:
    return _zhang2016_pth(path) if _is_pytorch(path) else _zhang2016_caffe(path)


def _zhang2016_pth(path: str | os.PathLike[str]) -> NetworkWeights:
    """The port takes the mean over the bins at temperature 1 (its authors' Caffe network at 0.38)."""
    source = _PthFile(path)
    weights = NetworkWeights(settings={"inference.branch": "soft", "inference.temperature": 1.0})
    _add_blocks(weights, source)
    _add(weights, "conv8_1", source.layer("model8.0"), transposed=True)
    _add(weights, "conv8_2", source.layer("model8.2"))
    _add(weights, "conv8_3", source.layer("model8.4"))
    kernel, bias = source.layer("model8.6")
    order = _order_of_bins(source.array("model_out.weight"), path)
    _add(weights, "bins", (kernel[order], bias[order]), dense=True)
    return weights


def _order_of_bins(decoder: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    """Returns, for each of our bins, its place in a file whose last layer (2, 313, 1, 1) holds ab / 110 of each."""
    centres = decoder.reshape(2, -1).T * 110
    if centres.shape == AB_BINS.shape:
        distance = np.max(np.abs(AB_BINS[:, None] - centres), axis=-1)
        order = np.argmin(distance, axis=1)
        if np.max(np.min(distance, axis=1)) < 1 and len(set(order.tolist())) == len(order):
            return order
    raise UserError(f"{path}: the layer 'model_out' does not hold the 313 bin centres, so it is not eccv16.")


def _zhang2016_caffe(path: str | os.PathLike[str]) -> NetworkWeights:
    source = _CaffeFile(path)
    weights = NetworkWeights(settings={"inference.branch": "soft", "inference.temperature": 0.38})
    for block, convolutions in enumerate(_CONVOLUTIONS, start=1):
        for index in range(1, convolutions + 1):
            name = f"conv{block}_{index}"
            _add(weights, name, source.layer("bw_conv1_1" if name == "conv1_1" and source.has("bw_conv1_1") else name))
        mean, variance = source.statistics(f"conv{block}_{convolutions}norm")
        ones, zeros = np.ones_like(mean), np.zeros_like(mean)
        _add_norm(weights, f"norm{block}", mean=mean, variance=variance, scale=ones, bias=zeros)
    # Caffe's network sees L - 50, ours (L - 50) / 100.
    weights.params["conv1_1"]["kernel"] = weights.params["conv1_1"]["kernel"] * np.float32(100)
    _add(weights, "conv8_1", source.layer("conv8_1"), transposed=True)
    _add(weights, "conv8_2", source.layer("conv8_2"))
    _add(weights, "conv8_3", source.layer("conv8_3"))
    _add(weights, "bins", source.layer("conv8_313"), dense=True)
    return weights


def _siggraph17(path: str | os.PathLike[str]) -> NetworkWeights:
    source = _PthFile(path)
    weights = NetworkWeights(settings={"inference.branch": "reg"})
    _add_blocks(weights, source)
    for name, short, number in (
        ("conv8", "model3short8", 8),
        ("conv9", "model2short9", 9),
        ("conv10", "model1short10", 10),
    ):
        _add(weights, f"{name}_up", source.layer(f"model{number}up.0"), transposed=True)
        _add(weights, f"{name}_short", source.layer(f"{short}.0"))
        _add(weights, f"{name}_2", source.layer(f"model{number}.1"))
    _add(weights, "conv8_3", source.layer("model8.3"))
    source.add_norm(weights, "norm8", "model8.5")
    source.add_norm(weights, "norm9", "model9.3")
    _add(weights, "classes", source.layer("model_class.0"), dense=True)
    _add(weights, "ab", source.layer("model_out.0"), dense=True)
    return weights


def _larsson2016(path: str | os.PathLike[str]) -> NetworkWeights:
    """A file of the released kind has its batch normalisations folded into the convolutions and takes grey in 0..1."""
    source = _CaffeFile(path)
    folded = not source.has("batch_conv1_1")
    weights = NetworkWeights(settings={"inference.branch": "reg", "model.gray_mean": 0.0 if folded else 0.4488})
    names = [f"conv{b}_{i + 1}" for b, count in enumerate(_VGG16_CONVOLUTIONS, 1) for i in range(count)]
    channels = [1]
    for name in (*names, "fc6", "fc7"):
        _add(weights, name, source.layer(name))
        count = weights.params[name]["bias"].size
        channels.append(count)
        neutral = np.zeros(count, np.float32), np.full(count, 1 - _EPSILON, np.float32)
        mean, variance = neutral if folded else source.statistics(f"batch_{name}")
        _add_norm(weights, f"norm_{name}", mean=mean, variance=variance)
    kernel, bias = source.first_layer(("h_fc1", "colorize_fc1"))
    kernel = kernel.reshape(len(kernel), -1).T
    if len(kernel) != sum(channels):
        raise UserError(f"{path}: the hidden layer has {len(kernel)} inputs, but the hypercolumn {sum(channels)}.")
    parts = np.split(kernel, np.cumsum(channels)[:-1])
    for name, part in zip(("data", *names, "fc6", "fc7"), parts, strict=True):
        weights.params[f"hidden_{name}"] = {"kernel": np.ascontiguousarray(part, np.float32)}
    weights.params["hidden_data"]["bias"] = np.asarray(bias, np.float32).reshape(-1)
    _add(weights, "hue", source.first_layer(("prediction_h", "prediction_h4")), dense=True)
    _add(weights, "chroma", source.first_layer(("prediction_c", "prediction_c4")), dense=True)
    return weights


def _iizuka2016(path: str | os.PathLike[str]) -> NetworkWeights:
    raise UserError(
        f"{path} cannot be converted: the published weights of iizuka2016 are a Torch7 file, and no maintained Python "
        "package reads that format; train the method with configs/iizuka2016.py instead."
    )


LOADERS: dict[str, Callable[[str | os.PathLike[str]], NetworkWeights]] = {
    "zhang2016": _zhang2016,
    "siggraph17": _siggraph17,
    "larsson2016": _larsson2016,
    "iizuka2016": _iizuka2016,
}
"""By `config.model.method`."""


def _is_pytorch(path: str | os.PathLike[str]) -> bool:
    """Files of `torch.save` are zip archives or, before 2020, pickles of protocol 2."""
    with Path(path).open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")


class _PthFile:
    def __init__(self, path: str | os.PathLike[str]):
        self.path = path
        self._arrays = read_pth(path)

    def array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise UserError(f"{self.path} has no tensor {name!r}: it holds another network.")
        return self._arrays[name]

    def layer(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self.array(f"{name}.weight"), self.array(f"{name}.bias")

    def add_norm(self, weights: NetworkWeights, name: str, theirs: str) -> None:
        scale, bias = self.layer(theirs)
        mean, variance = self.array(f"{theirs}.running_mean"), self.array(f"{theirs}.running_var")
        _add_norm(weights, name, mean=mean, variance=variance, scale=scale, bias=bias)


class _CaffeFile:
    def __init__(self, path: str | os.PathLike[str]):
        self.path = path
        self._layers = read_caffe_h5(path) if is_hdf5(path) else read_caffemodel(path)

    def has(self, name: str) -> bool:
        return name in self._layers

    def first_layer(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first layer that the file has, of several names for the same."""
        return self.layer(next((name for name in names if self.has(name)), names[0]))

    def layer(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        kernel, bias = self._blobs(name, count=2)
        return kernel, bias.reshape(-1)

    def statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        mean, variance, divisor = self._blobs(name, count=3)
        factor = float(divisor.reshape(-1)[0]) or 1.0
        return mean.reshape(-1) / factor, variance.reshape(-1) / factor

    def _blobs(self, name: str, *, count: int) -> list[np.ndarray]:
        blobs = self._layers.get(name, [])
        if len(blobs) != count:
            raise UserError(f"{self.path} has {len(blobs)} arrays in layer {name!r}, where {count} belong.")
        return blobs


def _add_blocks(weights: NetworkWeights, source: _PthFile) -> None:
    """Adds the seven blocks of Zhang et al.: in the port's lists, ReLUs stand between the convolutions."""
    for block, convolutions in enumerate(_CONVOLUTIONS, start=1):
        for index in range(convolutions):
            _add(weights, f"conv{block}_{index + 1}", source.layer(f"model{block}.{2 * index}"))
        source.add_norm(weights, f"norm{block}", f"model{block}.{2 * convolutions}")


def _add(
    weights: NetworkWeights,
    name: str,
    layer: tuple[np.ndarray, np.ndarray],
    *,
    dense: bool = False,
    transposed: bool = False,
) -> None:
    """Adds a layer with a bias; a kernel of size 1 as a dense one; a transposed one turned round, as Flax wants it."""
    kernel, bias = layer
    if dense:
        kernel = kernel.reshape(len(kernel), -1).T
    elif kernel.ndim != 4:
        raise UserError(f"The weights have a kernel {kernel.shape} for layer {name!r}, which is no convolution.")
    elif transposed:
        kernel = kernel.transpose(2, 3, 0, 1)[::-1, ::-1]
    else:
        kernel = kernel.transpose(2, 3, 1, 0)
    arrays = {"kernel": kernel, "bias": bias}
    weights.params[name] = {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}


def _add_norm(
    weights: NetworkWeights,
    name: str,
    *,
    mean: np.ndarray,
    variance: np.ndarray,
    scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> None:
    if scale is not None and bias is not None:
        weights.params[name] = {"scale": np.asarray(scale, np.float32), "bias": np.asarray(bias, np.float32)}
    weights.batch_stats[name] = {"mean": np.asarray(mean, np.float32), "var": np.asarray(variance, np.float32)}
