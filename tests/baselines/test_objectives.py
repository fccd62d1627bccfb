"""The comparison methods' losses against slow numpy, and what their gradients reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr
from skimage.color import rgb2lab

from semcolor_jax.baselines import comparison
from semcolor_jax.baselines.hints import LARGEST_PATCH, random_hints
from semcolor_jax.baselines.iizuka2016 import Iizuka2016
from semcolor_jax.baselines.zhang2016 import HintedOutputs
from semcolor_jax.color import AB_BINS, rgb_to_lab
from semcolor_jax.color.encoding import soft_encode_nearest
from semcolor_jax.color.hue_chroma import HueChroma, rgb_to_hue_chroma
from semcolor_jax.config import default
from semcolor_jax.losses.objective import Inputs
from semcolor_jax.models import Predictions

SIDE = 12


class Fixed:
    """A network that answers what it was told, and so has its answer as its only variable."""

    def apply(self, variables, lightness, **arguments):
        self.arguments = arguments
        return variables["params"], {}


def inputs_of(image, *, class_weights=None, **fields):
    config = default()
    config.loss.update(fields)
    batch = {
        "image": jnp.asarray(image),
        "scene_index": jnp.tile(jnp.arange(5, dtype=jnp.int32), (len(image), 1)),
        "scene_prob": jnp.tile(jnp.asarray([0.6, 0.1, 0.1, 0.1, 0.1]), (len(image), 1)),
    }
    weights = jnp.ones(313) if class_weights is None else jnp.asarray(class_weights)
    return Inputs(batch, rgb_to_lab(batch["image"]), config.loss, weights, {"dropout": jax.random.key(0)})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)


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
    class_weights = rng.uniform(0.5, 2, 313).astype(np.float32)
    logits = rng.normal(size=(2, 3, 3, 313)).astype(np.float32)
    inputs = inputs_of(image, class_weights=class_weights)

    def loss(logits):
        result = comparison.zhang2016(Fixed(), {"params": Predictions(color_logits=logits)}, inputs)
        return result.terms["soft"]

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(logits))
    target, best = dense_encoding(rgb2lab(image)[:, ::4, ::4, 1:], nearest=10)
    assert float(value) == pytest.approx(-np.mean(np.sum(target * log_softmax(logits, axis=-1), axis=-1)), rel=1e-4)
    weight = class_weights[best] * np.array([1.0, 0.0])[:, None, None]
    expected = weight[..., None] * (np.exp(log_softmax(logits, axis=-1)) - target) / 18
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_siggraph17_is_huber_and_a_hard_class(rng, image):
    ab = rng.uniform(-50, 50, (2, SIDE, SIDE, 2)).astype(np.float32)
    logits = rng.normal(size=(2, 3, 3, 529)).astype(np.float32)
    network = Fixed()
    outputs = HintedOutputs(ab=jnp.asarray(ab), class_logits=jnp.asarray(logits))
    terms = comparison.siggraph17(network, {"params": outputs}, inputs_of(image)).terms
    truth = rgb2lab(image)[..., 1:]
    error = np.abs(ab - truth) / 110
    huber = np.where(error < 1 / 110, error**2 / 2, (error - 0.5 / 110) / 110)
    assert float(terms["reg"]) == pytest.approx(np.mean(huber.sum(-1)), rel=1e-4)
    grid = np.stack(np.meshgrid(np.arange(-110, 111, 10), np.arange(-110, 111, 10), indexing="ij"), -1).reshape(-1, 2)
    nearest = np.argmin(np.sum((truth[:, ::4, ::4, None] - grid) ** 2, axis=-1), axis=-1)
    chosen = np.take_along_axis(log_softmax(logits, axis=-1), nearest[..., None], axis=-1)
    assert float(terms["soft"]) == pytest.approx(-np.mean(chosen), rel=1e-4)
    assert network.arguments["hints"].shape == (2, SIDE, SIDE, 3)


def test_hints_are_mean_colours_of_small_patches(rng):
    ab = rng.uniform(-80, 80, (64, 24, 20, 2)).astype(np.float32)
    hints = np.asarray(random_hints(jax.random.key(3), jnp.asarray(ab), stop=0.5))
    mask = hints[..., 2]
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert np.all(hints[mask == 0] == 0)
    given = mask.any((1, 2))
    assert 0.3 < given.mean() < 0.7  # at a stopping chance of a half, half the photos get none
    assert mask.sum((1, 2)).max() > LARGEST_PATCH
    rectangles = 0
    for photo in np.flatnonzero(given):
        rows, columns = np.nonzero(mask[photo])
        full = len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        if full and np.unique(hints[photo, rows, columns, 0]).size == 1:  # one patch, or one that hides the others
            rectangles += 1
            mean = ab[photo, rows, columns].mean(0)
            np.testing.assert_allclose(hints[photo, rows[0], columns[0], :2], mean, atol=1e-3)
    assert rectangles > 5
    assert not np.any(random_hints(jax.random.key(3), jnp.asarray(ab), stop=1.0))


def test_larsson_against_loops(rng, image):
    """Window histograms by counting, KL by scipy, both weights by their definition."""
    inputs = inputs_of(image, sample_places=0)
    places = np.asarray(comparison.grid_places(jnp.asarray(image)))
    assert places.shape == (2, 9, 2)
    logits = HueChroma(*(rng.normal(size=(2, 9, 32)).astype(np.float32) for _ in range(2)))
    terms = comparison.larsson2016(Fixed(), {"params": logits}, inputs).terms
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
                predicted = np.exp(log_softmax(logits[kind][photo, place].astype(np.float64)))
                sums[kind] += weight * rel_entr(counts, predicted).sum() / 18
    assert float(terms["hue"]) == pytest.approx(sums[0], rel=1e-4)
    assert float(terms["chroma"]) == pytest.approx(sums[1], rel=1e-4)


def test_larsson_draws_places_in_the_middle(image):
    photos = jnp.zeros((4, 352, 300, 3))
    places = np.asarray(comparison.random_places(jax.random.key(0), photos, count=500))
    assert places[..., 0].min() >= 96
    assert places[..., 0].max() <= 256
    assert places[..., 1].min() >= 96 * 300 // 352
    assert places[..., 1].max() <= 256 * 300 / 352
    network = Fixed()
    logits = HueChroma(jnp.zeros((2, 7, 32)), jnp.zeros((2, 7, 32)))
    comparison.larsson2016(network, {"params": logits}, inputs_of(image, sample_places=7))
    assert network.arguments["places"].shape == (2, 7, 2)


def test_iizuka_scales_ab_to_0_to_1(rng, image):
    ab = rng.uniform(-50, 50, (2, SIDE, SIDE, 2)).astype(np.float32)
    scene = rng.normal(size=(2, 365)).astype(np.float32)
    predictions = Predictions(ab=jnp.asarray(ab), scene_logits=jnp.asarray(scene))
    terms = comparison.iizuka2016(Fixed(), {"params": predictions}, inputs_of(image)).terms
    assert float(terms["reg"]) == pytest.approx(np.mean(((ab - rgb2lab(image)[..., 1:]) / 200) ** 2), rel=1e-4)
    log_prob = log_softmax(scene, axis=-1)
    assert float(terms["scene"]) == pytest.approx(-np.mean(log_prob[:, :5] @ [0.6, 0.1, 0.1, 0.1, 0.1]), rel=1e-4)


@pytest.mark.slow
def test_iizukas_scene_gradient_does_not_reach_the_colorization(image, rng):
    model = Iizuka2016(width=1, batch_norm=False, global_side=32)
    inputs = inputs_of(image)
    shapes = jax.eval_shape(lambda key: model.init(key, inputs.lab[..., :1], train=False), jax.random.key(0))["params"]
    params = jax.tree.map(lambda leaf: np.abs(rng.normal(0, 0.3, leaf.shape)).astype(np.float32), shapes)

    @jax.jit
    @jax.grad
    def gradient(params):
        return comparison.iizuka2016(model, {"params": params}, inputs).terms["scene"]

    reached = {name: any(np.any(leaf) for leaf in jax.tree.leaves(tree)) for name, tree in gradient(params).items()}
    untouched = {name for name, touched in reached.items() if not touched}
    assert untouched == {"mid_level", "fusion", "color1", "color2", "color3", "ab"}
