from typing import Any

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.formats.keras_h5 import load_keras_vgg16
from semcolor_jax.models.vgg16_classifier import classifier_for

BGR_MEAN = (103.939, 116.779, 123.68)


def write_keras2(path, reference, *, names=("{}/kernel:0", "{}/bias:0")):
    """The layout of the published file: `Model.save_weights` of Keras 2, layers without weights included."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in reference.model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.2"
        for layer in reference.model.layers:
            group = file.create_group(layer.name)
            arrays = reference.layers.get(layer.name, ())
            keys = [name.format(layer.name) for name in names[: len(arrays)]]
            group.attrs["weight_names"] = np.array([key.encode() for key in keys], "S64")
            for key, array in zip(keys, arrays, strict=True):
                group.create_dataset(key, data=array)
    return path


def write_keras1(path, reference):
    return write_keras2(path, reference, names=("{}_W_1:0", "{}_b_1:0"))


def write_by_keras(path, reference):
    """Keras' own writer of the old format, for a whole model."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file.create_group("model_weights"), reference.model)
    return path


def assert_same_logits(weights, reference, expected):
    network = classifier_for(weights.params)
    logits: Any = network.apply({"params": weights.params}, jnp.asarray(weights.preprocess(reference.photos)))
    assert logits.shape == expected.shape == (2, 365)
    assert 0.1 < np.std(expected) < 100
    assert np.max(np.abs(logits - expected)) < 1e-4


def keras_logits(reference):
    """Through the preprocessing of the publisher's script."""
    import keras

    prepared = keras.applications.vgg16.preprocess_input(reference.photos.astype(np.float32))
    return np.asarray(reference.model(prepared))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras' own writer
@pytest.mark.parametrize("write", [write_keras2, write_keras1, write_by_keras])
def test_the_logits_are_those_of_keras(tmp_path, small, write):
    weights = load_keras_vgg16(write(tmp_path / "weights.h5", small))
    assert_same_logits(weights, small, keras_logits(small))


@pytest.mark.slow
def test_the_logits_are_those_of_keras_at_full_size(tmp_path, published):
    weights = load_keras_vgg16(write_keras2(tmp_path / "weights.h5", published))
    assert weights.params["fc6"]["kernel"].shape == (7 * 7 * 512, 4096)
    assert_same_logits(weights, published, keras_logits(published))


def test_the_colour_channels_matter(tmp_path, small):
    """Photos with red and blue exchanged must not give the same logits, or the test above shows little."""
    bgr_mean_in_the_wrong_order = small.logits(bgr_mean=BGR_MEAN[::-1])
    assert np.max(np.abs(bgr_mean_in_the_wrong_order - keras_logits(small))) > 1e-2


def test_the_file_without_dense_layers_is_refused(tmp_path, small):
    path = write_keras2(tmp_path / "notop.h5", small)
    with h5py.File(path, "a") as file:
        for name in ("fc1", "fc2", "predictions"):
            del file[name]
    with pytest.raises(UserError, match=r"notop\.h5 has no layer 'fc1'"):
        load_keras_vgg16(path)


def test_a_layer_of_another_shape_is_refused(tmp_path, small):
    path = write_keras2(tmp_path / "weights.h5", small)
    with h5py.File(path, "a") as file:
        del file["fc2/fc2/bias:0"]
        file.create_dataset("fc2/fc2/bias:0", data=np.zeros(3))
    with pytest.raises(UserError, match=r"layer 'fc2' has a kernel \(24, 16\) and a bias \(3,\)"):
        load_keras_vgg16(path)


def test_a_layer_without_a_bias_is_refused(tmp_path, small):
    path = write_keras2(tmp_path / "weights.h5", small)
    with h5py.File(path, "a") as file:
        del file["block3_conv2/block3_conv2/bias:0"]
    with pytest.raises(UserError, match="layer 'block3_conv2' holds 1 arrays"):
        load_keras_vgg16(path)


def test_damaged_and_missing_files_are_refused(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        load_keras_vgg16(tmp_path / "weights.h5")
    with pytest.raises(UserError, match="there is no file"):
        load_keras_vgg16(tmp_path / "missing.h5")
