"""A decoder that stops early: X_map's size, what is enlarged, what the losses are compared with."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage.color import rgb2lab

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.color import SoftCode, rgb_to_lab, soft_encode
from semcolor_jax.config import default
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.objective import Inputs
from semcolor_jax.losses.paper import semcolor
from semcolor_jax.training.optimizer import build_optimizer
from semcolor_jax.training.state import create_state
from semcolor_jax.training.step import make_train_step


def network(stride, *, width=4) -> Any:
    config = default()
    config.model.width, config.model.scene_features, config.model.output_stride = width, 8, stride
    model = build_model(config)
    return config, model, init_variables(model, jax.random.key(0, impl="rbg"), config=config)


@pytest.mark.parametrize("stride", [2, 4])
def test_x_map_is_smaller_and_predictions_are_not(stride):
    _, model, variables = network(stride)
    lightness = jnp.asarray(np.random.default_rng(0).uniform(0, 100, (2, 37, 22, 1)), jnp.float32)
    features: Any = model.apply(variables, lightness, train=False, method="features")
    cells = (-(-37 // stride), -(-22 // stride))
    assert features.map.shape == (2, *cells, 4 * stride)
    blocks = {name.partition("_")[0] for name in variables["params"]["decoder"]}
    assert blocks == {"conv4", "conv3", "conv2", "conv1"} - {f"conv{k}" for k in range(1, stride.bit_length())}
    predictions: Any = model.apply(variables, lightness, train=False)
    assert predictions.ab.shape == (2, 37, 22, 2)
    assert predictions.color_logits.shape == (2, 37, 22, 313)
    assert predictions.seg_logits.shape == (2, 37, 22, 183)


def test_logits_are_enlarged_bilinearly_between_the_centres_of_cells():
    """Reference: the interpolation written out, for the pixels that lie between the cells' centres."""
    _, model, variables = network(2)
    lightness = jnp.asarray(np.random.default_rng(1).uniform(0, 100, (1, 32, 16, 1)), jnp.float32)
    apply: Any = model.apply
    small = apply(variables, lightness, train=False, method="features").map
    logits = np.asarray(apply(variables, small, method="heads").color_logits)[0]
    large = np.asarray(apply(variables, lightness, train=False).color_logits)[0]
    for y, x in [(1, 1), (2, 5), (17, 8), (30, 14)]:
        i, j = (y - 1) // 2, (x - 1) // 2  # the cell whose centre lies above and left
        down, across = (0.25 if side % 2 else 0.75 for side in (y, x))
        cells = logits[i : i + 2, j : j + 2]
        expected = (1 - down) * (1 - across) * cells[0, 0] + (1 - down) * across * cells[0, 1]
        expected = expected + down * (1 - across) * cells[1, 0] + down * across * cells[1, 1]
        np.testing.assert_allclose(large[y, x], expected, rtol=1e-4, atol=1e-5)


def test_the_step_compares_with_the_mean_colour_and_the_central_label_of_each_cell():
    config, model, variables = network(2)
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    labels = rng.integers(0, 4, (2, 32, 32)).astype(np.uint8)
    batch = {
        "image": image,
        "labels": labels,
        "scene_index": np.tile(np.arange(5, dtype=np.int32), (2, 1)),
        "scene_prob": np.full((2, 5), 0.2, np.float32),
    }
    weights = rng.uniform(0.5, 2, 313).astype(np.float32)
    lab = rgb2lab(image).astype(np.float32)
    ab = np.stack([lab[:, y::2, x::2, 1:] for y in (0, 1) for x in (0, 1)]).mean(0)

    features, _ = model.apply(
        variables, jnp.asarray(lab[..., :1]), train=True, mutable=["batch_stats"], method="features"
    )
    predictions: Any = model.apply(variables, features.map, method="heads")
    code = soft_encode(ab)
    expected = {
        "soft": losses.soft_encoding_loss(predictions.color_logits, SoftCode(*code), rebalancing=jnp.asarray(weights)),
        "reg": losses.regression_loss(predictions.ab, jnp.asarray(ab)),
        "seg": losses.softmax_dice_loss(predictions.seg_logits, jnp.asarray(labels[:, 1::2, 1::2])),
    }
    optimizer = build_optimizer(config, steps_per_epoch=10)
    step = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=weights, seed=0)
    _, metrics = step(create_state(variables, optimizer), batch)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)


def test_photos_that_do_not_divide_into_cells_are_refused():
    config, model, variables = network(2)
    optimizer = build_optimizer(config, steps_per_epoch=10)
    step = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=np.ones(313, np.float32), seed=0)
    batch = {
        "image": np.zeros((1, 31, 32, 3), np.uint8),
        "labels": np.zeros((1, 31, 32), np.uint8),
        "scene_index": np.zeros((1, 5), np.int32),
        "scene_prob": np.zeros((1, 5), np.float32),
    }
    with pytest.raises(ValueError, match="31 x 32"):
        step(create_state(variables, optimizer), batch)


@pytest.mark.parametrize("stride", [1, 2])
def test_plain_and_fused_heads_have_one_definition(stride):
    config, model, variables = network(stride)
    rng = np.random.default_rng(3)
    batch = {
        "image": jnp.asarray(rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)),
        "labels": jnp.asarray(rng.choice(np.array([0, 3, 182, 255], np.uint8), (2, 32, 32))),
        "scene_index": jnp.tile(jnp.arange(5, dtype=jnp.int32), (2, 1)),
        "scene_prob": jnp.full((2, 5), 0.2, jnp.float32),
    }
    lab, weights = rgb_to_lab(batch["image"]), jnp.asarray(rng.uniform(0.5, 2, 313), jnp.float32)

    def terms(heads):
        inputs = Inputs(batch, lab, ConfigDict({**config.loss, "heads": heads}), weights, rngs={})
        return semcolor(model, variables, inputs).terms

    plain, fused = (jax.jit(terms, static_argnums=0)(heads) for heads in ("plain", "fused"))
    assert set(plain) == set(fused) == {"soft", "reg", "scene", "seg"}
    for name, value in plain.items():
        np.testing.assert_allclose(fused[name], value, rtol=1e-5, err_msg=name)
