from typing import Any

import jax
import numpy as np
import pytest

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.config import default
from semcolor_jax.inference.branches import ColorChoice, branch_colors
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.network import read_out
from semcolor_jax.inference.strips import merge
from semcolor_jax.models import Predictor


@pytest.fixture(scope="module")
def network():
    config = default()
    config.model.width = 4
    model = build_model(config)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    return model, jax.tree.map(lambda x: x * 3, variables)  # colours that differ


@pytest.mark.parametrize("branch", ["soft", "reg", "both"])
def test_chunks_give_what_the_whole_predictions_give(network, branch):
    model, variables = network
    lightness = np.random.default_rng(0).uniform(0, 100, (2, 37, 24, 1)).astype(np.float32)
    expected: Any = Predictor(model, variables)(lightness)
    choice = ColorChoice(branch, share=0.3, saturation=1.2)
    found: Any = read_out(model, variables, lightness, choice=choice)
    colors = branch_colors(expected, temperature=0.38)
    by_branch = {**colors, "both": 0.7 * colors["reg"] + 0.3 * colors["soft"]}
    np.testing.assert_allclose(found.ab, 1.2 * by_branch[branch], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scene_logits, expected.scene_logits, rtol=1e-4, atol=1e-3)
    assert np.mean(found.classes == np.argmax(expected.seg_logits, axis=-1)) > 0.999


def test_a_batch_gives_what_its_photos_give_one_by_one(network):
    model, variables = network
    colorizer = Colorizer(Predictor(model, variables), side=64)
    photos = list(np.random.default_rng(1).integers(0, 256, (3, 40, 64, 3), np.uint8))
    together = colorizer.colors(photos)
    assert np.std(together) > 1
    for photo, ab in zip(photos, together, strict=True):
        result = colorizer(photo)
        np.testing.assert_allclose(ab, result.ab, rtol=1e-4, atol=1e-3)
        # Colours that differ in their last digits may round to the next of 256 levels.
        assert np.max(np.abs(merge(photo, ab).astype(int) - result.rgb)) <= 1
