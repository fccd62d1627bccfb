"""The comparison at the end of a fine-tuning."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.before_after import compare
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions


def colorizer(color):
    """Colours every photo alike."""
    predict = lambda lightness: Predictions(ab=jnp.broadcast_to(jnp.float32(color), (*lightness.shape[:3], 2)))  # noqa: E731
    return Colorizer(predict, side=32, choice=ColorChoice("reg"))


@pytest.fixture
def samples(make_sample):
    """Photos of one hue each, so that the right colour is known."""
    samples = [make_sample(seed=seed) for seed in range(5)]
    reds = [np.stack([s.image[..., 0], s.image[..., 0] // 2, s.image[..., 0] // 2], axis=-1) for s in samples]
    return [dataclasses.replace(s, image=red) for s, red in zip(samples, reds, strict=True)]


def test_the_better_weights_have_the_better_scores(samples):
    a, b = np.mean([rgb_to_lab(s.image, xp=np)[..., 1:].mean(axis=(0, 1)) for s in samples], axis=0)
    found = compare(colorizer((-a, -b)), colorizer((a, b)), samples)
    scores = found.scores
    assert list(scores) == ["grey copy", "before", "after", "original"]
    assert scores["after"]["psnr"] > scores["grey copy"]["psnr"] > scores["before"]["psnr"]
    assert scores["after"]["ab_distance"] < scores["grey copy"]["ab_distance"] < scores["before"]["ab_distance"]
    assert list(scores["original"]) == ["colourfulness"]
    assert "5 held-out photos" in found.table()


def test_the_picture_has_a_row_for_each_photo_shown(samples):
    heights = [compare(colorizer((9, 9)), colorizer((9, 9)), samples, shown=n).picture.shape[0] for n in (1, 2, 3, 9)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 24
    assert heights[3] - heights[2] == 2 * (heights[1] - heights[0])


def test_without_photos_there_is_nothing_to_compare():
    with pytest.raises(UserError, match="no held-out photos"):
        compare(colorizer((0, 0)), colorizer((0, 0)), [])
