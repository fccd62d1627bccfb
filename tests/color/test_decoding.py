import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semcolor_jax.color import AB_BINS, annealed_mean, mode, soft_encode
from semcolor_jax.errors import UserError

LOGITS = np.random.default_rng(0).normal(0, 3, (2, 4, 313)).astype(np.float32)


def slow_annealed_mean(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Equations 14 and 15 as printed: from the probabilities Z, one pixel and one bin at a time."""
    result = np.zeros((*logits.shape[:-1], 2))
    for place in np.ndindex(*logits.shape[:-1]):
        z = np.exp(logits[place].astype(np.float64))
        z = z / z.sum()
        annealed = [np.exp(np.log(z[q]) / temperature) for q in range(313)]
        for q in range(313):
            result[place] += annealed[q] / sum(annealed) * AB_BINS[q]
    return result


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.38, 0.1])
def test_annealed_mean_equals_the_printed_equations(temperature):
    expected = slow_annealed_mean(LOGITS, temperature)
    np.testing.assert_allclose(annealed_mean(LOGITS, temperature), expected, atol=1e-3)
    traced = jax.jit(annealed_mean)(LOGITS, temperature)
    np.testing.assert_allclose(traced, expected, atol=1e-3)


def test_the_default_temperature_is_the_papers():
    np.testing.assert_allclose(annealed_mean(LOGITS), slow_annealed_mean(LOGITS, 0.38), atol=1e-3)


def test_temperature_1_is_the_mean():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(313), 5)
    expected = probabilities @ AB_BINS
    np.testing.assert_allclose(annealed_mean(np.log(probabilities).astype(np.float32), 1.0), expected, atol=1e-3)


@pytest.mark.parametrize("temperature", [1e-3, 1e-20, 1.2e-38])
def test_towards_temperature_0_it_becomes_the_mode(temperature):
    np.testing.assert_allclose(annealed_mean(LOGITS, temperature), mode(LOGITS), atol=1e-3)


def test_mode_is_the_most_probable_bin():
    logits = np.zeros((3, 313), np.float32)
    logits[[0, 1, 2], [0, 100, 312]] = 1
    np.testing.assert_array_equal(mode(logits), AB_BINS[[0, 100, 312]])


@given(st.integers(0, 312), st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_certain_prediction_gives_its_bin(index, temperature):
    logits = np.full(313, -1e4, np.float32)
    logits[index] = 1e4
    np.testing.assert_allclose(annealed_mean(logits, temperature), AB_BINS[index], atol=1e-4)


@given(st.floats(-1e4, 1e4, width=32))
@settings(max_examples=30, deadline=None)
def test_a_shift_of_the_logits_changes_nothing(shift):
    np.testing.assert_allclose(annealed_mean(LOGITS + np.float32(shift)), annealed_mean(LOGITS), atol=0.5)


def test_decoding_undoes_encoding_within_a_fraction_of_a_bin():
    ab = np.random.default_rng(2).uniform(-40, 40, (50, 2)).astype(np.float32)
    code = soft_encode(ab)
    logits = np.full((50, 313), -30.0, np.float32)
    np.put_along_axis(logits, np.asarray(code.indices), np.log(code.weights), axis=1)
    assert np.max(np.linalg.norm(annealed_mean(logits, 1.0) - ab, axis=1)) < 3


def test_bfloat16_logits_are_decoded_in_float32():
    assert annealed_mean(jnp.asarray(LOGITS, jnp.bfloat16)).dtype == jnp.float32


def test_gradients_are_finite():
    gradient = jax.grad(lambda x: jnp.sum(annealed_mean(x) ** 2))(jnp.asarray(LOGITS) * 100)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("temperature", [0.0, -0.1, 1.01, float("nan"), 1e-38, 1e-300])
def test_the_temperature_must_be_in_range(temperature):
    with pytest.raises(UserError, match="temperature"):
        annealed_mean(LOGITS, temperature)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("function", [annealed_mean, mode])
def test_wrong_shape_is_refused(function):
    with pytest.raises(ValueError, match="313"):
        function(np.zeros((4, 312), np.float32))
