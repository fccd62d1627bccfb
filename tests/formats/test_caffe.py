from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from semcolor_jax.errors import UserError
from semcolor_jax.formats.caffe import load_caffe_vgg16, read_caffemodel
from semcolor_jax.models.vgg16_classifier import classifier_for

PLACES365_BGR_MEAN = (104.05100722, 112.51448911, 116.67603893)

FIELDS = {  # of caffe.proto: name, number, type, "*" if repeated, "packed" if so written
    "BlobShape": [("dim", 1, "INT64", "packed")],
    "BlobProto": [
        *(("num", 1, "INT32", ""), ("channels", 2, "INT32", ""), ("height", 3, "INT32", ""), ("width", 4, "INT32", "")),
        *(("data", 5, "FLOAT", "packed"), ("diff", 6, "FLOAT", "packed"), ("shape", 7, ".caffe.BlobShape", "")),
        ("double_data", 8, "DOUBLE", "packed"),
    ],
    "LayerParameter": [
        *(("name", 1, "STRING", ""), ("type", 2, "STRING", ""), ("bottom", 3, "STRING", "*")),
        *(("loss_weight", 5, "FLOAT", "*"), ("blobs", 7, ".caffe.BlobProto", "*"), ("phase", 10, "INT32", "")),
    ],
    "V1LayerParameter": [
        *(("bottom", 2, "STRING", "*"), ("name", 4, "STRING", ""), ("type", 5, "INT32", "")),
        *(("blobs", 6, ".caffe.BlobProto", "*"), ("blobs_lr", 7, "FLOAT", "*")),
    ],
    "NetParameter": [
        *(("name", 1, "STRING", ""), ("layers", 2, ".caffe.V1LayerParameter", "*"), ("input", 3, "STRING", "*")),
        *(("input_dim", 4, "INT32", "*"), ("force_backward", 5, "BOOL", "")),
        ("layer", 100, ".caffe.LayerParameter", "*"),
    ],
}


def caffe_messages():
    """The message classes of caffe.proto, made by protobuf itself."""
    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind, manner in fields:
            field = described.field.add(name=name, number=number)
            field.label = proto.LABEL_REPEATED if manner else proto.LABEL_OPTIONAL
            field.type = proto.TYPE_MESSAGE if kind.startswith(".") else getattr(proto, f"TYPE_{kind}")
            if kind.startswith("."):
                field.type_name = kind
            if manner == "packed":
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in FIELDS}


def fill(blob, array):
    """`blob.data[:] = array` for millions of numbers: the packed field as protobuf writes it, read by protobuf."""
    content = np.ascontiguousarray(array, "<f4").tobytes()
    length, varint = len(content), bytearray()
    while length >= 128:
        varint.append(length % 128 | 128)
        length //= 128
    varint.append(length)
    blob.MergeFromString(bytes([5 << 3 | 2]) + varint + content)  # field 5, a run of bytes


def caffe_layers(reference):
    """The reference's weights in Caffe's names and layout."""
    side = reference.photos.shape[1] // 32
    layers = {}
    for name, (kernel, bias) in reference.layers.items():
        if name.startswith("block"):
            layers[f"conv{name[5]}_{name[-1]}"] = (kernel.transpose(3, 2, 0, 1), bias)
            continue
        if name == "fc1":
            kernel = np.concatenate([kernel[channel::512] for channel in range(512)])  # (H, W, C) -> (C, H, W)
            assert len(kernel) == 512 * side**2
        layers[{"fc1": "fc6", "fc2": "fc7", "predictions": "fc8a"}[name]] = (kernel.T, bias)
    return layers


def write_today(path, reference):
    """As Caffe of 2015 and later writes it: `layer` with blobs that have a shape, and layers without blobs."""
    messages = caffe_messages()
    net: Any = messages["NetParameter"](name="VGG-Places365", input=["data"], input_dim=[10, 3, 224, 224])
    for name, arrays in caffe_layers(reference).items():
        layer = net.layer.add(name=name, type="Convolution", bottom=["data"], loss_weight=[1.0], phase=1)
        for array in arrays:
            fill(layer.blobs.add(shape={"dim": array.shape}), array)
        net.layer.add(name=name.replace("conv", "relu"), type="ReLU")
    path.write_bytes(net.SerializeToString())
    return path


def write_2014(path, reference):
    """As Caffe of 2014 wrote it: `layers` with blobs of four dimensions."""
    messages = caffe_messages()
    net: Any = messages["NetParameter"](name="VGG-Places365", force_backward=True)
    for name, arrays in caffe_layers(reference).items():
        layer = net.layers.add(name=name, type=4, bottom=["data"], blobs_lr=[1, 2])
        for array in arrays:
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            fill(layer.blobs.add(num=num, channels=channels, height=height, width=width), array)
    path.write_bytes(net.SerializeToString())
    return path


def assert_same_logits(weights, reference):
    expected = reference.logits(bgr_mean=PLACES365_BGR_MEAN)
    logits: Any = classifier_for(weights.params).apply(
        {"params": weights.params}, jnp.asarray(weights.preprocess(reference.photos))
    )
    assert logits.shape == expected.shape == (2, 365)
    assert 0.1 < np.std(expected) < 100
    assert np.max(np.abs(logits - expected)) < 1e-4


@pytest.mark.parametrize("write", [write_today, write_2014])
def test_the_logits_are_those_of_keras(tmp_path, small, write):
    assert_same_logits(load_caffe_vgg16(write(tmp_path / "vgg16.caffemodel", small)), small)


@pytest.mark.slow
def test_the_logits_are_those_of_keras_at_full_size(tmp_path, published):
    assert_same_logits(load_caffe_vgg16(write_today(tmp_path / "vgg16.caffemodel", published)), published)


@pytest.fixture
def net(tmp_path):
    """A small net, and a function that writes it and reads it back."""
    messages = caffe_messages()
    message = messages["NetParameter"]()

    def read(serialized=None):
        path = tmp_path / "net.caffemodel"
        path.write_bytes(message.SerializeToString() if serialized is None else serialized)
        return read_caffemodel(path)

    return message, read


def test_numbers_may_be_doubles_and_gradients_are_passed_over(net):
    message, read = net
    layer = message.layer.add(name="ip")
    layer.blobs.add(shape={"dim": [2, 3]}, double_data=[1, 2, 3, 4, 5, 0.1], diff=[9] * 6)
    layer.blobs.add(shape={"dim": [300]}, data=np.arange(300), diff=[9] * 300)
    matrix, vector = read()["ip"]
    np.testing.assert_array_equal(matrix, [[1, 2, 3], [4, 5, 0.1]])
    np.testing.assert_array_equal(vector, np.arange(300))


def test_every_truncation_is_noticed_or_leaves_whole_layers(net):
    message, read = net
    for name in ("a", "b"):
        message.layer.add(name=name).blobs.add(shape={"dim": [3]}, data=[1, 2, 3])
    whole = message.SerializeToString()
    between = len(whole) // 2
    for length in range(1, len(whole)):
        if length == between:
            assert list(read(whole[:length])) == ["a"]
        else:
            with pytest.raises(UserError, match="not a whole caffemodel"):
                read(whole[:length])


@pytest.mark.parametrize("content", [b"\x03\x04", b"\x0b", b"\xff" * 30, b"PK\x03\x04 a zip file", b"<!DOCTYPE html>"])
def test_other_files_are_refused(net, content):
    _, read = net
    with pytest.raises(UserError, match="not a whole caffemodel"):
        read(content)


def test_a_shape_that_does_not_fit_is_refused(net):
    message, read = net
    message.layer.add(name="ip").blobs.add(shape={"dim": [2, 3]}, data=[1, 2])
    with pytest.raises(UserError, match="not a whole caffemodel"):
        read()


def test_another_network_is_refused(net, tmp_path):
    message, read = net
    message.layer.add(name="conv1_1").blobs.add(shape={"dim": [64, 3, 3]}, data=[0] * 576)
    assert read()["conv1_1"][0].shape == (64, 3, 3)
    with pytest.raises(UserError, match="has 1 arrays in layer 'conv1_1'"):
        load_caffe_vgg16(tmp_path / "net.caffemodel")
    message.layer[0].blobs.add(shape={"dim": [64]}, data=[0] * 64)
    read()
    with pytest.raises(UserError, match=r"layer 'conv1_1' has an array \(64, 3, 3\)"):
        load_caffe_vgg16(tmp_path / "net.caffemodel")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_caffe_vgg16(tmp_path / "missing.caffemodel")
