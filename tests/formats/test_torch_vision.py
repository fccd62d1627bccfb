from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pth_files import write_pth

from semcolor_jax.errors import UserError
from semcolor_jax.formats.torch_vision import _FEATURES, load_torch_vgg16
from semcolor_jax.models.vgg16_classifier import classifier_for


@pytest.fixture(scope="session")
def state_dict(small):
    """The Keras reference's layers under torchvision's names and in its layout."""
    tensors = {}
    for name, (kernel, bias) in small.layers.items():
        if name.startswith("block"):
            block, index = int(name[5]), int(name[11])
            place = _FEATURES[sum((2, 2, 3, 3, 3)[: block - 1]) + index - 1]
            theirs, weight = f"features.{place}", kernel.transpose(3, 2, 0, 1)
        else:
            theirs = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}[name]
            if name == "fc1":
                kernel = kernel.reshape(2, 2, 512, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)  # (C, H, W)
            weight = kernel.T
        tensors |= {f"{theirs}.weight": weight, f"{theirs}.bias": bias}
    return tensors


def test_logits_equal_those_of_the_network_in_keras(tmp_path, small, state_dict):
    weights = load_torch_vgg16(write_pth(tmp_path / "vgg16.pth", state_dict))
    network = classifier_for(weights.params)
    computed: Any = network.apply({"params": weights.params}, jnp.asarray(weights.preprocess(small.photos)))
    normalised = (small.photos / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    expected = np.asarray(small.model(normalised.astype(np.float32)))
    np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("damage", ["missing", "rank", "inputs"])
def test_other_networks_are_refused(tmp_path, state_dict, damage):
    tensors = dict(state_dict)
    if damage == "missing":
        del tensors["features.7.bias"]
    elif damage == "rank":
        tensors["features.7.weight"] = tensors["features.7.weight"][0]
    else:
        tensors["classifier.0.weight"] = tensors["classifier.0.weight"][:, :-1]
    with pytest.raises(UserError, match=r"features\.7|no square"):
        load_torch_vgg16(write_pth(tmp_path / "vgg16.pth", tensors))
