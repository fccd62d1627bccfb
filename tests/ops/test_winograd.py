import numpy as np
import pytest
from scipy.signal import correlate

from semcolor_jax.ops import winograd


@pytest.mark.parametrize("taps", [3, 5])
def test_the_matrices_make_a_correlation(taps):
    rng = np.random.default_rng(0)
    tile, kernel = rng.normal(size=winograd.TILE + taps - 1), rng.normal(size=taps)
    algorithm = winograd.matrices(taps)
    result = algorithm.outputs @ ((algorithm.kernel @ kernel) * (algorithm.inputs @ tile))
    np.testing.assert_allclose(result, np.correlate(tile, kernel, "valid"), atol=1e-12)


@pytest.mark.parametrize(("taps", "padding"), [(3, 1), (3, 0), (5, 2)])
@pytest.mark.parametrize("size", [(15, 15), (9, 22), (5, 6)])
def test_equals_scipy(taps, padding, size):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, *size, 16)).astype(np.float32)
    kernel = rng.normal(size=(taps, taps, 16, 3)).astype(np.float32)
    around = ((padding, padding), (padding, padding), (0, 0))
    padded = [np.pad(np.float64(image), around) for image in x]
    kernels = np.moveaxis(np.float64(kernel), -1, 0)
    expected = [np.concatenate([correlate(image, k, "valid") for k in kernels], axis=-1) for image in padded]
    computed = winograd.convolve(x, winograd.factors(kernel), padding=padding)
    np.testing.assert_allclose(computed, expected, atol=1e-5 * np.abs(expected).max())


def test_it_is_left_where_it_does_not_pay(monkeypatch):
    assert winograd.pays((32, 15, 15, 192), 3, padding=1)
    assert not winograd.pays((32, 15, 15, 3), 3, padding=1)
    assert not winograd.pays((32, 63, 63, 64), 11, padding=2)
    assert not winograd.pays((2, 512, 512, 64), 3, padding=1)
    monkeypatch.setattr(winograd, "on_one_cpu", lambda: False)
    assert not winograd.pays((32, 15, 15, 192), 3, padding=1)
