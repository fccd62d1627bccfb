"""Zhang et al. 2017: size, loss against slow numpy, hints."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from skimage.color import rgb2lab
from small_methods import SIDE, Fixed, inputs_of, losses_of, parameters, random_variables

from semcolor_jax.baselines.methods.siggraph17 import (
    LARGEST_PATCH,
    HintedOutputs,
    Siggraph17,
    objective,
    random_hints,
)


def test_siggraph17_has_the_published_number_of_parameters():
    """The number is that of the PyTorch port; `test_zhang_torch.py` counts it there."""
    assert parameters("siggraph17") == 34_187_027


def test_siggraph17_is_huber_and_a_hard_class(rng, image):
    ab = rng.uniform(-50, 50, (2, SIDE, SIDE, 2)).astype(np.float32)
    logits = rng.normal(size=(2, 3, 3, 529)).astype(np.float32)
    network = Fixed()
    outputs = HintedOutputs(ab=jnp.asarray(ab), class_logits=jnp.asarray(logits))
    terms = losses_of(objective, outputs, inputs_of("siggraph17", image), network=network)
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
    hints_of = jax.jit(random_hints)
    hints = np.asarray(hints_of(jax.random.key(3), ab, stop=0.5))
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
    assert not np.any(hints_of(jax.random.key(3), ab, stop=1.0))


@pytest.mark.slow
def test_hints_matter():
    model = Siggraph17(width=1)
    lightness = np.random.default_rng(0).uniform(0, 100, (1, 8, 8, 1)).astype(np.float32)
    variables = random_variables(model)
    apply = jax.jit(functools.partial(model.apply, train=False))
    none = np.zeros((1, 8, 8, 3), np.float32)
    some = none.copy()  # the first call may still be reading its argument
    some[:, 2:6, 2:6] = 60.0, -60.0, 1.0
    without, hinted = (apply(variables, lightness, hints=hints).ab for hints in (none, some))
    assert np.max(np.abs(without - hinted)) > 1e-4
