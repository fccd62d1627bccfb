"""Zhang et al. 2016: size, loss against slow numpy, published files of both frameworks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pth_files import write_pth
from scipy.special import log_softmax
from skimage.color import rgb2lab
from skimage.transform import resize
from small_files import write_caffemodel, zhang_blobs, zhang_tensors
from small_methods import SIDE, Fixed, inputs_of, parameters

from semcolor_jax.baselines.methods.zhang2016 import load_published, objective
from semcolor_jax.baselines.registry import default_config
from semcolor_jax.color import AB_BINS
from semcolor_jax.color.encoding import soft_encode_nearest
from semcolor_jax.inference.branches import branch_colors
from semcolor_jax.models import Predictions
from semcolor_jax.models.semcolor import Enlargement


def test_eccv16_has_the_published_number_of_parameters():
    """The PyTorch port's 32 236 011 include the 313 bin centres of its last layer, which are no parameters here."""
    assert parameters("zhang2016") == 32_236_011 - 2 * 313


def test_colours_of_a_lower_resolution_are_enlarged_after_decoding():
    """Two cells of certain colour: between their centres, bilinear; scikit-image is the reference."""
    logits = np.full((1, 2, 2, 313), -1e4, np.float32)
    bins = np.array([[0, 100], [200, 312]])
    for row in range(2):
        for column in range(2):
            logits[0, row, column, bins[row, column]] = 0
    predictions = Predictions(color_logits=jnp.asarray(logits), enlargement=Enlargement(4, 7, 6))
    ab = branch_colors(predictions, temperature=0.38)["soft"]
    assert ab.shape == (1, 7, 6, 2)
    expected = resize(AB_BINS[bins], (8, 8), order=1, mode="edge", anti_aliasing=False)[:7, :6]
    np.testing.assert_allclose(np.asarray(ab[0]), np.asarray(expected), atol=1e-3)


def dense_encoding(ab, *, nearest):
    distance = np.sum((ab[..., None, :] - AB_BINS.astype(np.float64)) ** 2, axis=-1)
    cut = np.sort(distance, axis=-1)[..., nearest - 1 : nearest]
    weight = np.where(distance <= cut, np.exp(-distance / 50), 0)
    return weight / weight.sum(-1, keepdims=True), np.argmin(distance, axis=-1)


@pytest.mark.parametrize("nearest", [1, 10, 313])
def test_soft_encoding_with_any_number_of_bins(rng, nearest):
    ab = rng.uniform(-80, 80, (40, 2))
    indices, weights = soft_encode_nearest(ab.astype(np.float32), nearest=nearest)
    dense = np.zeros((40, 313))
    np.put_along_axis(dense, np.asarray(indices), np.asarray(weights), axis=-1)
    expected, best = dense_encoding(ab, nearest=nearest)
    np.testing.assert_allclose(dense, expected, atol=1e-5)
    np.testing.assert_array_equal(indices[:, 0], best)


def test_zhang_prints_the_plain_loss_and_follows_the_rebalanced_one(rng, image):
    image[1] = rng.integers(0, 256, (SIDE, SIDE, 1))  # a grey photo: it counts in the value, not in the gradient
    rebalancing = rng.uniform(0.5, 2, 313).astype(np.float32)
    logits = rng.normal(size=(2, 3, 3, 313)).astype(np.float32)
    inputs = inputs_of("zhang2016", image, rebalancing=rebalancing)

    def loss(logits):
        fixed: Any = Fixed()
        result = objective(fixed, {"params": Predictions(color_logits=logits)}, inputs)
        return result.terms["soft"]

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(logits))
    target, best = dense_encoding(rgb2lab(image)[:, ::4, ::4, 1:], nearest=10)
    assert float(value) == pytest.approx(-np.mean(np.sum(target * log_softmax(logits, axis=-1), axis=-1)), rel=1e-4)
    weight = rebalancing[best] * np.array([1.0, 0.0])[:, None, None]
    expected = weight[..., None] * (np.exp(log_softmax(logits, axis=-1)) - target) / 18
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_zhang_from_caffe(tmp_path, rng):
    blobs = zhang_blobs(rng)
    weights = load_published(write_caffemodel(tmp_path / "x.caffemodel", blobs))
    kernel = blobs["bw_conv1_1"][0]
    np.testing.assert_allclose(weights.params["conv1_1"]["kernel"][2, 0, 0, 0], 100 * kernel[0, 0, 2, 0], rtol=1e-6)
    np.testing.assert_array_equal(weights.params["conv3_2"]["kernel"][0, 1, 2, 3], blobs["conv3_2"][0][3, 2, 0, 1])
    up = blobs["conv8_1"][0].astype(np.float32)
    np.testing.assert_array_equal(weights.params["conv8_1"]["kernel"][0, 1, 6, 3], up[6, 3, 3, 2])
    mean, variance, _ = blobs["conv5_3norm"]
    np.testing.assert_allclose(weights.batch_stats["norm5"]["mean"], mean / 20, rtol=1e-6)
    np.testing.assert_allclose(weights.batch_stats["norm5"]["var"], variance / 20, rtol=1e-6)
    np.testing.assert_array_equal(weights.params["norm5"]["scale"], np.ones(8))
    np.testing.assert_array_equal(weights.params["bins"]["kernel"], blobs["conv8_313"][0][:, :, 0, 0].T)


def test_zhang_from_pytorch(tmp_path, rng):
    tensors = zhang_tensors(rng)
    weights = load_published(write_pth(tmp_path / "x.pth", tensors))
    theirs = tensors["model3.2.weight"]  # a ReLU stands between two convolutions
    np.testing.assert_array_equal(weights.params["conv3_2"]["kernel"][0, 1, 2, 3], theirs[3, 2, 0, 1])
    np.testing.assert_array_equal(weights.params["norm5"]["scale"], tensors["model5.6.weight"])
    np.testing.assert_array_equal(weights.batch_stats["norm5"]["var"], tensors["model5.6.running_var"])
    centres = tensors["model_out.weight"][:, :, 0, 0].T * 110
    place = int(np.argmin(np.sum((centres - AB_BINS[200]) ** 2, axis=-1)))
    np.testing.assert_array_equal(weights.params["bins"]["kernel"][:, 200], tensors["model8.6.weight"][place, :, 0, 0])


def test_the_temperature_is_the_papers():
    assert default_config("zhang2016").inference.temperature == 0.38
