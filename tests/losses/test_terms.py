"""Every loss against a slow loop over pixels, compiled and with the awkward labels among the cases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.color import SoftCode
from semcolor_jax.losses import terms as losses

RNG = np.random.default_rng(0)


def log_softmax(row):
    top = max(row)
    total = math.log(sum(math.exp(value - top) for value in row)) + top
    return [value - total for value in row]


def random_code(shape, bins):
    indices = np.stack([RNG.permutation(bins)[:5] for _ in range(math.prod(shape))])
    weights = RNG.random((math.prod(shape), 5))
    weights /= weights.sum(axis=1, keepdims=True)
    return (
        SoftCode(
            jnp.asarray(indices.reshape(*shape, 5), jnp.int32),
            jnp.asarray(weights.reshape(*shape, 5), jnp.float32),
        ),
        indices,
        weights,
    )


def test_soft_encoding_loss_equals_a_loop_over_pixels_and_bins():
    logits = RNG.normal(scale=3.0, size=(2, 3, 4, 313)).astype(np.float32)
    rebalancing = RNG.uniform(0.2, 5.0, size=313).astype(np.float32)
    code, indices, weights = random_code((2, 3, 4), 313)

    expected = 0.0
    for row, bins, bin_weights in zip(logits.reshape(-1, 313), indices, weights, strict=True):
        dense = np.zeros(313)
        dense[bins] = bin_weights
        log_prob = log_softmax(row.tolist())
        cross_entropy = -sum(dense[q] * log_prob[q] for q in range(313))
        expected += rebalancing[bins[0]] * cross_entropy  # the nearest bin comes first: q*
    expected /= 2 * 3 * 4

    loss = jax.jit(losses.soft_encoding_loss)(logits, code, rebalancing=rebalancing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_regression_loss_by_hand():
    ab = jnp.array([[[[110.0, 0.0], [0.0, 0.0]]]])
    target = jnp.array([[[[0.0, 0.0], [55.0, -55.0]]]])
    # pixel 1: 1^2 + 0; pixel 2: 0.5^2 + 0.5^2; mean over the two pixels
    assert float(jax.jit(losses.regression_loss)(ab, target)) == pytest.approx((1.0 + 0.5) / 2)


def test_scene_loss_leaves_unlabelled_samples_out():
    logits = RNG.normal(size=(3, 365)).astype(np.float32)
    index = np.array([[3, 7, 300, 1, 2], [0, 0, 0, 0, 0], [364, 5, 6, 8, 9]], np.int32)
    prob = np.array([[0.5, 0.2, 0.1, 0.1, 0.1], [0] * 5, [1.0, 0, 0, 0, 0]], np.float32)
    expected = 0.0
    for row in (0, 2):
        log_prob = log_softmax(logits[row].tolist())
        expected -= sum(float(prob[row, k]) * log_prob[index[row, k]] for k in range(5))
    loss = jax.jit(losses.scene_loss)(logits, index=index, prob=prob)
    assert float(loss) == pytest.approx(expected / 2, rel=1e-5)


def test_scene_loss_without_any_label_is_zero_and_has_zero_gradient():
    index, prob = jnp.zeros((2, 5), jnp.int32), jnp.zeros((2, 5))
    logits = jnp.ones((2, 365))
    value, gradient = jax.value_and_grad(lambda x: losses.scene_loss(x, index=index, prob=prob))(logits)
    assert float(value) == 0.0
    assert not np.any(np.asarray(gradient))


def dice_loop(logits, labels):
    """Eq. 19 per class over all labelled pixels of the batch, averaged over the classes present."""
    classes = logits.shape[-1]
    overlap, squares, present = np.zeros(classes), np.zeros(classes), np.zeros(classes, bool)
    for row, label in zip(logits.reshape(-1, classes), labels.reshape(-1), strict=True):
        if label >= classes:
            continue
        prob = [math.exp(value) for value in log_softmax(row.tolist())]
        for c in range(classes):
            truth = 1.0 if label == c else 0.0
            overlap[c] += truth * prob[c]
            squares[c] += truth**2 + prob[c] ** 2
            present[c] |= label == c
    if not present.any():
        return 0.0
    return 1.0 - np.mean(2 * overlap[present] / squares[present])


@pytest.mark.parametrize(
    "labels",
    [
        RNG.integers(0, 183, size=(2, 4, 5)),
        np.where(RNG.random((2, 4, 5)) < 0.5, 255, 7),  # ignored pixels, one class
        np.where(RNG.random((2, 4, 5)) < 0.3, 255, RNG.integers(0, 3, size=(2, 4, 5))),  # most classes absent
        np.stack([np.full((4, 5), 255), RNG.integers(0, 183, size=(4, 5))]),  # one sample has no labels
        np.full((2, 4, 5), 255),  # none has
        RNG.integers(178, 256, size=(2, 4, 5)),  # numbers that are no class
    ],
    ids=["all classes", "one class", "absent classes", "missing labels", "no labels", "no class"],
)
def test_softmax_dice_loss_equals_a_loop(labels):
    logits = RNG.normal(scale=2.0, size=(2, 4, 5, 183)).astype(np.float32)
    loss = jax.jit(losses.softmax_dice_loss)(logits, labels.astype(np.uint8))
    assert float(loss) == pytest.approx(dice_loop(logits, labels), rel=1e-5, abs=1e-6)


def test_softmax_dice_loss_is_zero_for_a_certain_and_right_answer():
    labels = RNG.integers(0, 5, size=(1, 3, 3)).astype(np.uint8)
    logits = 100.0 * jax.nn.one_hot(labels, 183)
    assert float(losses.softmax_dice_loss(logits, jnp.asarray(labels))) == pytest.approx(0.0, abs=1e-6)


def test_softmax_dice_gradient_is_finite_and_spares_ignored_pixels():
    labels = jnp.full((1, 2, 2), 255, jnp.uint8).at[0, 0, 0].set(4)
    gradient = jax.grad(losses.softmax_dice_loss)(jnp.zeros((1, 2, 2, 183)), labels)
    assert np.all(np.isfinite(gradient))
    assert np.any(np.asarray(gradient[0, 0, 0]))
    assert not np.any(np.asarray(gradient[0, 1]))


def test_joint_loss_weighs_only_the_branches_present():
    terms = {"soft": jnp.asarray(2.0), "reg": jnp.asarray(3.0)}
    weights = {"soft": 0.5, "reg": 10.0, "scene": 100.0, "seg": 100.0}
    assert float(losses.joint_loss(terms, weights=weights)) == pytest.approx(31.0)


@pytest.mark.usefixtures("no_shape_checks")
def test_losses_refuse_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="target"):
        losses.regression_loss(jnp.zeros((2, 3, 3, 2)), jnp.zeros((1, 3, 3, 2)))
    with pytest.raises(ValueError, match="labels"):
        losses.softmax_dice_loss(jnp.zeros((2, 3, 3, 183)), jnp.zeros((2, 3, 1), jnp.uint8))
    with pytest.raises(ValueError, match="prob"):
        losses.scene_loss(jnp.zeros((2, 365)), index=jnp.zeros((2, 5), jnp.int32), prob=jnp.zeros((1, 5)))
    with pytest.raises(ValueError, match="rebalancing"):
        losses.soft_encoding_loss(jnp.zeros((1, 1, 1, 313)), random_code((1, 1, 1), 313)[0], rebalancing=jnp.ones((1,)))
