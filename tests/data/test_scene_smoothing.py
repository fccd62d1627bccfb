import math

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from semcolor_jax.config import default
from semcolor_jax.data.augment import training_ops
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.scene_smoothing import gaussian_ranks, scene_smoothing

SEED = tf.constant([0, 0], tf.int64)


def by_hand(*ranks):
    """A normal density of deviation 2 at the ranks, scaled to sum 1; None stands for a category of probability 0."""
    weights = [0 if rank is None else math.exp(-(rank**2) / 8) for rank in ranks]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.5, 0.2, 0.1, 0.1, 0.1], by_hand(0, 1, 2, 3, 4)),
        ([0.9, 0.1, 0, 0, 0], by_hand(0, 1, None, None, None)),
        ([0.1, 0, 0.6, 0.3, 0], by_hand(2, None, 0, 1, None)),
        ([1, 0, 0, 0, 0], [1, 0, 0, 0, 0]),
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ],
)
def test_ranks_get_the_weights_of_a_gaussian(probabilities, expected):
    probabilities = np.array(probabilities, np.float32)
    np.testing.assert_allclose(gaussian_ranks(probabilities), expected, atol=1e-6)
    example = {"scene_prob": tf.constant(probabilities), "scene_index": tf.range(5)}
    smoothed = scene_smoothing("gaussian")(example, SEED)
    np.testing.assert_allclose(smoothed["scene_prob"], expected, atol=1e-6)
    np.testing.assert_array_equal(smoothed["scene_index"], range(5))
    assert scene_smoothing("top5")(example, SEED) is example


@given(npst.arrays(np.float32, 5, elements=st.floats(0, 1, width=32, allow_subnormal=False)))
def test_the_op_is_the_function_and_applying_it_again_changes_nothing(probabilities):
    once = gaussian_ranks(probabilities)
    op = scene_smoothing("gaussian")({"scene_prob": tf.constant(probabilities)}, SEED)
    np.testing.assert_allclose(op["scene_prob"], once, atol=1e-6)
    np.testing.assert_allclose(gaussian_ranks(once), once, atol=1e-6)


def test_rows_are_smoothed_one_by_one():
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 4).astype(np.float32)
    np.testing.assert_array_equal(gaussian_ranks(rows), [gaussian_ranks(row) for row in rows])


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="uniform"):
        scene_smoothing("uniform")


@pytest.mark.parametrize(
    ("smoothing", "expected"), [("top5", [0.6, 0.1, 0.1, 0.1, 0.1]), ("gaussian", by_hand(0, 1, 2, 3, 4))]
)
def test_training_follows_the_config(smoothing, expected):
    config = default()
    config.data.scene_smoothing, config.data.short_side, config.data.image_size = smoothing, 16, 16
    example = {
        "image": tf.zeros([20, 16, 3], tf.uint8),
        "labels": tf.zeros([20, 16], tf.uint8),
        "scene_index": tf.range(5),
        "scene_prob": tf.constant([0.6, 0.1, 0.1, 0.1, 0.1]),
    }
    dataset = tf.data.Dataset.from_tensors(example).map(lambda x: training_ops(config)(x, SEED))
    np.testing.assert_allclose(next(iter(dataset))["scene_prob"], expected, atol=1e-6)
