"""VGG16-Places365 from the Caffe file of its authors, `vgg16_places365.caffemodel`.

https://github.com/CSAILVision/places365 publishes it. A caffemodel is a NetParameter message in protobuf's wire
format (https://protobuf.dev/programming-guides/encoding). Of caffe.proto a few fields are needed:

  NetParameter       layer = 100, and layers = 2 in files of the year 2014 (V1LayerParameter)
  LayerParameter     name = 1, blobs = 7;  V1LayerParameter: name = 4, blobs = 6
  BlobProto          shape = 7, data = 5, double_data = 8;  before shape: num, channels, height, width = 1..4
  BlobShape          dim = 1

Caffe lays convolutions out as (O, I, H, W), dense layers as (O, I), and flattens feature maps in the order (C, H, W).
Its networks see BGR, 0..255; this one was trained with the mean image of Places365 subtracted
(places365CNN_mean.binaryproto), whose mean colour stands for it here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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


class Field(NamedTuple):
    """One field of a message: an integer if its wire type is varint, else its bytes."""

    number: int
    value: int | memoryview


class WireFormatError(ValueError):
    """The bytes are not a protobuf message."""


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
      UserError: the file is missing, cannot be read, or is no caffemodel.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    layers: dict[str, list[np.ndarray]] = {}
    try:
        for field in message_fields(memoryview(content)):
            if field.number in _LAYER_FIELDS:
                name, blobs = _read_layer(_bytes(field), *_LAYER_FIELDS[field.number])
                if blobs:
                    layers[name] = blobs
    except (ValueError, OverflowError) as error:  # ours, and numpy's about absurd shapes
        raise UserError(f"{path} is not a whole caffemodel ({error}): download it again.") from error
    return layers


def message_fields(message: memoryview) -> Iterator[Field]:
    """Yields the fields of a protobuf message, in the order of the bytes.

    Raises:
      WireFormatError: while iterating, if the bytes are cut short or are no message.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
        else:
            if wire_type == 2:
                length, position = _varint(message, position)
            elif wire_type in _FIXED_LENGTHS:
                length = _FIXED_LENGTHS[wire_type]
            else:
                raise WireFormatError(f"wire type {wire_type} at byte {position}")
            value, position = message[position : position + length], position + length
            if len(value) < length:
                raise WireFormatError("cut short")
        yield Field(number, value)


_LAYER_FIELDS = {100: (1, 7), 2: (4, 6)}
"""Of NetParameter; with the numbers of name and blobs in each."""

_FIXED_LENGTHS = {1: 8, 5: 4}


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Returns the integer at a position (seven bits a byte, lowest first), and where it ends."""
    value = 0
    for index, byte in enumerate(message[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise WireFormatError(f"no integer at byte {position}")


def _bytes(field: Field) -> memoryview:
    if isinstance(field.value, int):
        raise WireFormatError(f"field {field.number} is a number")
    return field.value


def _read_layer(message: memoryview, name_field: int, blobs_field: int) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field in message_fields(message):
        if field.number == name_field:
            name = bytes(_bytes(field)).decode("utf-8", "replace")
        elif field.number == blobs_field:
            blobs.append(_read_blob(_bytes(field)))
    return name, blobs


def _read_blob(message: memoryview) -> np.ndarray:
    """Returns a BlobProto's array, float32 or float64."""
    fields = list(message_fields(message))
    shapes = [_dimensions(_bytes(field)) for field in fields if field.number == 7]
    legacy = {field.number: field.value for field in fields if isinstance(field.value, int)}
    shape = shapes[-1] if shapes else [legacy.get(number, 1) for number in (1, 2, 3, 4)]
    single, double = (_numbers(fields, number, dtype) for number, dtype in ((5, "<f4"), (8, "<f8")))
    return (double if double.size else single).reshape(shape)


def _numbers(fields: Sequence[Field], number: int, dtype: str) -> np.ndarray:
    """Joins a repeated field: one run of bytes if packed, as Caffe writes it, else a run per number."""
    runs = [_bytes(field) for field in fields if field.number == number]
    return np.frombuffer(runs[0] if len(runs) == 1 else b"".join(runs), dtype)


def _dimensions(shape: memoryview) -> list[int]:
    """Returns the dimensions of a BlobShape, packed or not."""
    dimensions = []
    for field in message_fields(shape):
        if isinstance(field.value, int):
            dimensions.append(field.value)
        else:
            position = 0
            while position < len(field.value):
                value, position = _varint(field.value, position)
                dimensions.append(value)
    return dimensions


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
