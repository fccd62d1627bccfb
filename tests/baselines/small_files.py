"""Published layouts of the methods' weights, with random values and a 64th of the channels (`config.model.width` 1)."""

from typing import Any

import h5py
import numpy as np
from test_caffe import caffe_messages

from semcolor_jax.baselines.layers import scaled
from semcolor_jax.baselines.methods.iizuka2016 import layer_shapes
from semcolor_jax.baselines.methods.larsson2016 import LAYERS
from semcolor_jax.color import AB_BINS

ZHANG_CONVOLUTIONS = (2, 2, 3, 3, 3, 3, 3)


def random_layer(rng, *shape):
    return [rng.normal(0, 0.3, shape).astype(np.float32), rng.normal(0, 0.1, shape[0]).astype(np.float32)]


def zhang_blobs(rng):
    """As the authors' prototxt names and shapes them, thin."""
    layers, before = {}, 1
    for block, (count, channels) in enumerate(zip(ZHANG_CONVOLUTIONS, (1, 2, 4, 8, 8, 8, 8), strict=True), start=1):
        for index in range(1, count + 1):
            name = "bw_conv1_1" if (block, index) == (1, 1) else f"conv{block}_{index}"
            layers[name] = random_layer(rng, channels, before, 3, 3)
            before = channels
        mean, variance = rng.normal(size=channels), rng.uniform(0.5, 2, channels)
        layers[f"conv{block}_{count}norm"] = [mean * 20, variance * 20, np.array([20.0])]
    layers["conv8_1"] = [rng.normal(size=(8, 4, 4, 4)), rng.normal(size=4)]
    layers["conv8_2"], layers["conv8_3"] = random_layer(rng, 4, 4, 3, 3), random_layer(rng, 4, 4, 3, 3)
    layers["conv8_313"] = random_layer(rng, 313, 4, 1, 1)
    return layers


def zhang_tensors(rng):
    """As the authors' PyTorch port names and shapes them, thin."""
    tensors, before = {}, 1

    def layer(name, *shape):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = random_layer(rng, *shape)

    for block, (count, channels) in enumerate(zip(ZHANG_CONVOLUTIONS, (1, 2, 4, 8, 8, 8, 8), strict=True), start=1):
        for index in range(count):
            layer(f"model{block}.{2 * index}", channels, before, 3, 3)
            before = channels
        layer(f"model{block}.{2 * count}", channels)
        for statistic in ("running_mean", "running_var"):
            tensors[f"model{block}.{2 * count}.{statistic}"] = rng.uniform(0.5, 2, channels).astype(np.float32)
    for name, *shape in (("0", 8, 4, 4, 4), ("2", 4, 4, 3, 3), ("4", 4, 4, 3, 3), ("6", 313, 4, 1, 1)):
        layer(f"model8.{name}", *shape)
    tensors["model8.0.bias"] = tensors["model8.0.bias"][:4]
    order = rng.permutation(313)  # the converter finds the bins by their centres
    tensors["model_out.weight"] = (AB_BINS[order].T[:, :, None, None] / 110).astype(np.float32)
    return tensors


def larsson_blobs(rng, *, folded):
    layers, before, total = {}, 1, 1
    for name in LAYERS[1:]:
        channels = 64 if name.startswith("fc") else min(8, 2 ** (int(name[4]) - 1))
        kernel = {"fc6": 7, "fc7": 1}.get(name, 3)
        layers[name] = random_layer(rng, channels, before, kernel, kernel)
        if not folded:
            layers[f"batch_{name}"] = [np.ones(channels) * 3, np.ones(channels) * 6, np.array([3.0])]
        before, total = channels, total + channels
    one = (1, 1) if folded else ()
    names = ("h_fc1", "prediction_h", "prediction_c") if folded else ("colorize_fc1", "prediction_h4", "prediction_c4")
    for name, shape in zip(names, ((16, total), (32, 16), (32, 16)), strict=True):
        layers[name] = random_layer(rng, *shape, *one)
    return layers


def iizuka_arrays(rng, *, cells=2):
    """The converted form of the authors' file, thin, for a global copy of cells x 32 pixels."""

    def thin(channels):
        return channels if channels in (1, 2) else scaled(channels, width=1)

    arrays = {"mean": np.float32(0.45)}
    for name, (out, inputs, *kernel) in layer_shapes().items():
        inputs = 8 * cells**2 if name == "global_dense1" else thin(inputs)
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = random_layer(rng, thin(out), inputs, *kernel)
        if "conv" in name:
            for statistic in ("weight", "bias", "running_mean", "running_var"):
                values = rng.uniform(0.5, 2, thin(out)).astype(np.float32)
                arrays[f"{name.replace('conv', 'norm')}.{statistic}"] = values
    return arrays


def write_caffemodel(path, layers):
    net: Any = caffe_messages()["NetParameter"]()
    for name, blobs in layers.items():
        layer = net.layer.add(name=name)
        for blob in blobs:
            layer.blobs.add(shape={"dim": blob.shape}, data=blob.ravel())
    path.write_bytes(net.SerializeToString())
    return path


def write_h5(path, layers):
    with h5py.File(path, "w") as file:
        for name, blobs in layers.items():
            for index, blob in enumerate(blobs):
                file[f"data/{name}/{index}"] = blob
        file.create_group("data/relu1_1")
    return path
