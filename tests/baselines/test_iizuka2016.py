"""Iizuka et al. 2016: size, loss against slow numpy, what the scene's gradient reaches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from skimage.color import rgb2lab
from small_methods import SIDE, Fixed, inputs_of, parameters

from semcolor_jax.baselines.methods.iizuka2016 import Iizuka2016, objective
from semcolor_jax.models import Predictions


def test_iizuka_has_the_parameters_of_its_layers():
    def conv(channels_in, channels_out, kernel=3):
        return kernel**2 * channels_in * channels_out + channels_out

    def chain(*channels):
        return sum(conv(a, b) for a, b in itertools.pairwise(channels))

    def dense(*channels):
        return sum(a * b + b for a, b in itertools.pairwise(channels))

    low_mid = chain(1, 64, 128, 128, 256, 256, 512) + chain(512, 512, 256)
    whole = chain(512, 512, 512, 512, 512) + dense(7 * 7 * 512, 1024, 512, 256)
    color = conv(512, 256, kernel=1) + chain(256, 128, 64, 64, 32, 2)
    plain = low_mid + whole + color + dense(256, 256, 365)
    assert parameters("iizuka2016", batch_norm=False) == plain
    normalised = 64 + 128 * 2 + 256 * 2 + 512 + 512 + 256 + 4 * 512 + 128 + 64 * 2 + 32
    assert parameters("iizuka2016") == plain + 2 * normalised


def test_iizuka_scales_ab_to_0_to_1(rng, image):
    ab = rng.uniform(-50, 50, (2, SIDE, SIDE, 2)).astype(np.float32)
    scene = rng.normal(size=(2, 365)).astype(np.float32)
    predictions = Predictions(ab=jnp.asarray(ab), scene_logits=jnp.asarray(scene))
    terms = objective(Fixed(), {"params": predictions}, inputs_of("iizuka2016", image)).terms
    assert float(terms["reg"]) == pytest.approx(np.mean(((ab - rgb2lab(image)[..., 1:]) / 200) ** 2), rel=1e-4)
    log_prob = log_softmax(scene, axis=-1)
    assert float(terms["scene"]) == pytest.approx(-np.mean(log_prob[:, :5] @ [0.6, 0.1, 0.1, 0.1, 0.1]), rel=1e-4)


@pytest.mark.slow
def test_iizukas_scene_gradient_does_not_reach_the_colorization(image, rng):
    model = Iizuka2016(width=1, batch_norm=False, global_side=32)
    inputs = inputs_of("iizuka2016", image)
    shapes = jax.eval_shape(lambda key: model.init(key, inputs.lab[..., :1], train=False), jax.random.key(0))["params"]
    params = jax.tree.map(lambda leaf: np.abs(rng.normal(0, 0.3, leaf.shape)).astype(np.float32), shapes)

    @jax.jit
    @jax.grad
    def gradient(params):
        return objective(model, {"params": params}, inputs).terms["scene"]

    reached = {name: any(np.any(leaf) for leaf in jax.tree.leaves(tree)) for name, tree in gradient(params).items()}
    untouched = {name for name, touched in reached.items() if not touched}
    assert untouched == {"mid_level", "fusion", "color1", "color2", "color3", "ab"}
