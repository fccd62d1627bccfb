"""Its numbers are compared with Keras in tests/formats; here is what a file of weights must look like."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.models import imagenet_vgg16_params
from semcolor_jax.models.encoders import Vgg16Encoder
from semcolor_jax.models.vgg16_classifier import Vgg16Classifier, classifier_for, input_side


@pytest.fixture(scope="module")
def params():
    """ImageNet's convolutions, and dense layers for 64 pixels a side."""
    rng = np.random.default_rng(0)
    dense = {"fc6": (4 * 512, 6), "fc7": (6, 5), "fc8": (5, 7)}
    return imagenet_vgg16_params() | {
        name: {"kernel": rng.normal(size=shape).astype(np.float32), "bias": rng.normal(size=shape[1])}
        for name, shape in dense.items()
    }


def test_the_dense_layers_follow_the_pooled_features(params):
    """With a grey photo, whose features the encoder gives; the rest is three products of numpy."""
    lightness = np.random.default_rng(1).uniform(0, 100, (2, 64, 64, 1)).astype(np.float32)
    convolutions = {name: layer for name, layer in params.items() if name.startswith("conv")}
    encoded: Any = Vgg16Encoder().apply({"params": convolutions}, jnp.asarray(lightness), train=False)
    features = np.asarray(encoded.x_enc)
    x = features.reshape(2, 2, 2, 2, 2, 512).max(axis=(2, 4)).reshape(2, -1)
    for name in ("fc6", "fc7"):
        x = np.maximum(x @ params[name]["kernel"] + params[name]["bias"], 0)
    expected = x @ params["fc8"]["kernel"] + params["fc8"]["bias"]

    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    photos = jnp.asarray((lightness / 100 - mean) / deviation, jnp.float32)
    logits: Any = classifier_for(params).apply({"params": params}, photos)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)


def test_sizes_come_from_the_weights(params):
    assert input_side(params) == 64
    network = classifier_for(params)
    assert (network.num_classes, network.dense_features) == (7, (6, 5))


def test_the_published_network_has_138_million_parameters():
    """Simonyan and Zisserman 2015, table 2, with 1000 classes."""
    photo = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(Vgg16Classifier(num_classes=1000).init, jax.random.key(0), photo)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 138_357_544


@pytest.mark.parametrize("layer", ["conv3_2", "fc7"])
def test_layers_that_do_not_fit_are_named(params, layer):
    wrong = {"kernel": params[layer]["kernel"][..., :-1, :], "bias": params[layer]["bias"]}
    with pytest.raises(ValueError, match=layer):
        classifier_for({**params, layer: wrong})
