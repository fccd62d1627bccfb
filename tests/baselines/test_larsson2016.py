"""Larsson et al. 2016: size, the hypercolumn in both forms, loss against loops, published files of both formats."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr
from small_files import larsson_blobs, write_caffemodel, write_h5
from small_methods import SIDE, Fixed, config_of, inputs_of, parameters, random_variables, shapes_of

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.methods.larsson2016 import (
    LAYERS,
    Larsson2016,
    grid_places,
    load_published,
    objective,
    random_places,
    sample_bilinear,
)
from semcolor_jax.color.hue_chroma import HueChroma, rgb_to_hue_chroma


def test_larsson_has_the_size_of_the_published_file():
    """588.16 MB of float32; the released file has 588 203 256 bytes, a few of them its structure."""
    count = parameters("larsson2016")
    assert round(4 * count / 1e6, 2) == 588.16
    assert 0 < 588_203_256 - 4 * count < 100_000


def test_larsson_has_the_published_hypercolumn():
    params = shapes_of(build_model(config_of("larsson2016")))["params"]
    channels = [params[f"hidden_{name}"]["kernel"].shape[0] for name in LAYERS]
    assert channels[:3] == [1, 64, 64]
    assert sum(channels) == 12_417
    assert len(channels) == 16


@pytest.mark.slow
def test_the_sparse_hypercolumn_agrees_with_the_dense_one():
    """On a photo without detail both read the same layers, up to what the borders put into them."""
    model = Larsson2016(width=1)
    lightness = jnp.full((1, 64, 64, 1), 60.0)
    logits = jax.jit(functools.partial(model.apply, train=False, method="histogram_logits"))
    variables = random_variables(model)
    dense = logits(variables, lightness)
    # The centres of two cells of the coarsest layer.
    places = jnp.asarray([[[15.5, 15.5], [47.5, 15.5]]])
    sparse = logits(variables, lightness, places=places)
    assert sparse.hue.shape == (1, 2, 32)
    assert dense.hue.shape == (1, 16, 16, 32)
    # The centre of a 32-pixel cell lies in the corner of four 4-pixel cells: their mean is the value there.
    for part_sparse, part_dense in zip(sparse, dense, strict=True):
        corner = jnp.mean(part_dense[0, 3:5, 3:5], axis=(0, 1))
        np.testing.assert_allclose(part_sparse[0, 0], corner, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_a_place_has_the_same_logits_among_few_places_and_among_many(rng):
    """Among few, coarse layers are sampled before the hidden layer; among many, after it."""
    model = Larsson2016(width=4)
    lightness = jnp.asarray(rng.uniform(0, 100, (2, 64, 64, 1)), jnp.float32)
    logits = jax.jit(functools.partial(model.apply, random_variables(model), train=False, method="histogram_logits"))
    places = jnp.asarray(rng.integers(0, 64, (2, 80, 2)))
    many = logits(lightness, places=places)
    few = [logits(lightness, places=places[:, start : start + 4]) for start in range(0, 80, 4)]
    for name in ("hue", "chroma"):
        expected = jnp.concatenate([getattr(part, name) for part in few], axis=1)
        np.testing.assert_allclose(getattr(many, name), expected, rtol=1e-4, atol=1e-5 * float(jnp.abs(expected).max()))


def test_bilinear_sampling_by_hand():
    features = jnp.arange(6.0).reshape(1, 2, 3, 1)  # rows 0 1 2 / 3 4 5, cells of 4x4 pixels with centres at 1.5, 5.5
    places = jnp.asarray([[[1.5, 1.5], [3.5, 5.5], [1.5, 2.5], [0.0, 0.0], [7.0, 11.0]]])
    read = sample_bilinear(features, places, stride=4)[0, :, 0]
    np.testing.assert_allclose(read, [0.0, 1.0 + 1.5, 0.25, 0.0, 5.0])


def test_larsson_against_loops(rng, image):
    """Window histograms by counting, KL by scipy, both weights by their definition."""
    inputs = inputs_of("larsson2016", image, sample_places=0)
    places = np.asarray(grid_places(jnp.asarray(image)))
    assert places.shape == (2, 9, 2)
    logits = HueChroma(*(jnp.float32(rng.normal(size=(2, 9, 32))) for _ in range(2)))
    # Not as one program: that rounds otherwise, and hues on the border of two bins change sides.
    fixed: Any = Fixed()
    terms = objective(fixed, {"params": logits}, inputs).terms
    rgb = image.astype(np.float32) / 255
    planes = [np.asarray(x) for x in rgb_to_hue_chroma(inputs.batch["image"].astype(jnp.float32) / 255)]
    sums = np.zeros(2)
    for photo in range(2):
        for place, (row, column) in enumerate(places[photo]):
            window = np.clip(np.arange(-3, 4) + row, 0, SIDE - 1), np.clip(np.arange(-3, 4) + column, 0, SIDE - 1)
            grey, chroma = rgb[photo, row, column].mean(), np.ptp(rgb[photo, row, column])
            for kind, weight in ((0, chroma), (1, 3 * min(grey, 1 / 3, 1 - grey))):
                values = planes[kind][photo][np.ix_(*window)]
                counts = np.bincount(np.minimum((values * 32).astype(int), 31).ravel(), minlength=32) / 49
                predicted = np.exp(log_softmax(np.asarray(logits[kind][photo, place], np.float64)))
                sums[kind] += weight * rel_entr(counts, predicted).sum() / 18
    assert float(terms["hue"]) == pytest.approx(sums[0], rel=1e-4)
    assert float(terms["chroma"]) == pytest.approx(sums[1], rel=1e-4)


def test_larsson_draws_places_in_the_middle(image):
    photos = jnp.zeros((4, 352, 300, 3))
    places = np.asarray(random_places(jax.random.key(0), photos, count=500))
    assert places[..., 0].min() >= 96
    assert places[..., 0].max() <= 256
    assert places[..., 1].min() >= 96 * 300 // 352
    assert places[..., 1].max() <= 256 * 300 / 352
    network: Any = Fixed()
    logits = HueChroma(jnp.zeros((2, 7, 32)), jnp.zeros((2, 7, 32)))
    inputs = inputs_of("larsson2016", image, sample_places=7)
    jax.eval_shape(lambda logits: objective(network, {"params": logits}, inputs).terms, logits)
    assert network.arguments["places"].shape == (2, 7, 2)


@pytest.mark.parametrize("folded", [True, False])
def test_larsson_from_both_of_caffes_formats(tmp_path, rng, folded):
    blobs = larsson_blobs(rng, folded=folded)
    weights = load_published(write_h5(tmp_path / "x.caffemodel.h5", blobs))
    again = load_published(write_caffemodel(tmp_path / "x.caffemodel", blobs))
    jax.tree.map(
        np.testing.assert_array_equal, (weights.params, weights.batch_stats), (again.params, again.batch_stats)
    )
    assert weights.settings["model.gray_mean"] == (0.0 if folded else 0.4488)
    hidden = np.concatenate([weights.params[f"hidden_{name}"]["kernel"] for name in LAYERS])
    theirs = blobs["h_fc1" if folded else "colorize_fc1"]
    np.testing.assert_array_equal(hidden, theirs[0].reshape(16, -1).T)
    np.testing.assert_array_equal(weights.params["hidden_data"]["bias"], theirs[1])
    statistics = weights.batch_stats["norm_conv2_1"]
    if folded:  # neutral: (x - mean) / sqrt(variance + epsilon) = x
        np.testing.assert_allclose(np.sqrt(statistics["var"] + 1e-5), 1.0, rtol=1e-6)
        assert not np.any(statistics["mean"])
    else:
        np.testing.assert_array_equal(statistics["mean"], np.ones(2))
        np.testing.assert_array_equal(statistics["var"], np.full(2, 2.0))
