"""Reads VGG16-Places365 from its authors' Caffe file, `vgg16_places365.caffemodel`.

https://github.com/CSAILVision/places365 publishes it. A caffemodel is a NetParameter message of protobuf. `_FIELDS` has
the few fields of caffe.proto that are needed; all others are skipped.

Caffe lays convolutions out as (O, I, H, W), dense layers as (O, I), and flattens feature maps in the order (C, H, W).
Its networks see BGR, 0..255; this one was trained with the mean image of Places365 subtracted
(places365CNN_mean.binaryproto), whose mean colour stands for it here.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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

RGB_MEAN = (116.67603893, 112.51448911, 104.05100722)
"""The mean colour of places365CNN_mean.binaryproto."""

_NAMES = {name: name for name in CONVOLUTIONS} | dict(zip(DENSE, ("fc6", "fc7", "fc8a"), strict=True))


_FIELDS = {
    "BlobShape": {"dim": (1, "INT64")},
    "BlobProto": {
        **{"num": (1, "INT32"), "channels": (2, "INT32"), "height": (3, "INT32"), "width": (4, "INT32")},
        "shape": (7, "BlobShape"),
        # Caffe packs its floats, so on the wire they are bytes; read as such, they need not become Python numbers.
        **{"data": (5, "BYTES"), "double_data": (8, "BYTES")},
    },
    "LayerParameter": {"name": (1, "STRING"), "blobs": (7, "BlobProto")},
    "V1LayerParameter": {"name": (4, "STRING"), "blobs": (6, "BlobProto")},  # from 2014
    "NetParameter": {"layers": (2, "V1LayerParameter"), "layer": (100, "LayerParameter")},
}
"""Number and type of the fields, by message."""

_SINGLE = ("name", "num", "channels", "height", "width", "shape")


def load_caffe_vgg16(path: str | os.PathLike[str]) -> ClassifierWeights:
    """Reads VGG16-Places365 from a caffemodel.

    Raises:
      UserError: the file is missing, damaged, or holds another network.
    """
    blobs = read_caffemodel(path)
    layers = {ours: _layer(blobs, theirs, ours, path) for ours, theirs in _NAMES.items()}
    channels = layers[CONVOLUTIONS[-1]]["bias"].size
    kernel = layers["fc6"]["kernel"]
    side = math.isqrt(len(kernel) // channels)
    if channels * side**2 != len(kernel):
        raise UserError(f"{path}: layer 'fc6' has {len(kernel)} inputs, which is no square map of {channels} channels.")
    kernel = kernel.reshape(channels, side, side, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)
    layers["fc6"]["kernel"] = np.ascontiguousarray(kernel)
    return ClassifierWeights(params=from_bgr(layers), rgb_mean=RGB_MEAN)


def read_caffemodel(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Returns the blobs of each layer that has any, by the layer's name, in Caffe's layout.

    Raises:
      UserError: the file is missing, cannot be read, or is not a caffemodel.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    from google.protobuf.message import DecodeError

    net = _net_parameter()()
    try:
        net.ParseFromString(content)
        return {
            layer.name: [_array(blob) for blob in layer.blobs] for layer in (*net.layers, *net.layer) if layer.blobs
        }
    except (DecodeError, ValueError, OverflowError) as error:  # numpy's errors are about absurd shapes
        raise UserError(f"{path} is not a whole caffemodel ({error}): download it again.") from error


@functools.cache
def _net_parameter() -> Any:
    """Returns the class of NetParameter messages."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe_weights.proto", package="caffe", syntax="proto2")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = described.field.add(name=name, number=number)
            field.label = proto.LABEL_OPTIONAL if name in _SINGLE else proto.LABEL_REPEATED
            field.type = proto.TYPE_MESSAGE if kind in _FIELDS else proto.Type.Value(f"TYPE_{kind}")
            if kind in _FIELDS:
                field.type_name = f".caffe.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


def _array(blob: Any) -> np.ndarray:
    """Returns a BlobProto's array, float32 or float64."""
    legacy = [getattr(blob, name) if blob.HasField(name) else 1 for name in ("num", "channels", "height", "width")]
    shape = list(blob.shape.dim) if blob.HasField("shape") else legacy
    single, double = (
        np.frombuffer(b"".join(runs), kind) for runs, kind in ((blob.data, "<f4"), (blob.double_data, "<f8"))
    )
    return (double if double.size else single).reshape(shape)


def _layer(
    blobs: Mapping[str, Sequence[np.ndarray]], theirs: str, ours: str, path: str | os.PathLike[str]
) -> LayerArrays:
    found = blobs.get(theirs, ())
    if len(found) != 2:
        raise UserError(f"{path} has {len(found)} arrays in layer {theirs!r}, but VGG16-Places365 has two there.")
    kernel, bias = found
    rank = 2 if ours in DENSE else 4
    shape = kernel.shape[-rank:]  # before there was BlobShape, every blob had four dimensions: 1, 1, O, I
    if len(shape) != rank or math.prod(shape) != kernel.size:
        raise UserError(f"{path}: layer {theirs!r} has an array {kernel.shape}, which is no kernel of VGG16.")
    kernel = kernel.reshape(shape).transpose((1, 0) if rank == 2 else (2, 3, 1, 0))
    return layer_arrays(kernel, bias.reshape(-1), rank=rank, where=f"{path}: layer {theirs!r}")
