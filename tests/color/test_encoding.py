import itertools

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from semcolor_jax.color import AB_BINS, SoftCode, bins, nearest_bin, rgb_to_lab, soft_encode, soft_encode_planes
from semcolor_jax.color.encoding import SORTING_NETWORK, soft_encode_nearest
from semcolor_jax.errors import UserError

encode = jax.jit(soft_encode)
nearest = jax.jit(nearest_bin)
BINS = AB_BINS.astype(np.float64)


def squared_distances(ab: np.ndarray) -> np.ndarray:
    return np.sum((ab[:, None].astype(np.float64) - BINS) ** 2, axis=-1)


def assert_is_the_brute_force_code(code: SoftCode, ab: np.ndarray, *, sigma: float = 5.0) -> None:
    """Compares distances, not bins: where two agree to float32's rounding, either bin is right."""
    indices, weights = np.asarray(code.indices), np.asarray(code.weights)
    assert indices.dtype == np.int32
    assert weights.dtype == np.float32
    assert np.all(np.diff(np.sort(indices, axis=1), axis=1) > 0), "a bin occurs twice"
    squared = squared_distances(ab)
    expected = np.sort(squared, axis=1)[:, :5]
    np.testing.assert_allclose(np.take_along_axis(squared, indices, axis=1), expected, rtol=2e-6, atol=1e-4)
    gaussian = np.exp(-(expected - expected[:, :1]) / (2 * sigma**2))
    np.testing.assert_allclose(weights, gaussian / gaussian.sum(axis=1, keepdims=True), atol=1e-5)


def in_chunks(ab: np.ndarray, size: int = 20_000):
    return (ab[start : start + size] for start in range(0, len(ab), size))


def test_equals_brute_force_over_the_whole_range():
    ab = np.random.default_rng(0).uniform(-130, 130, (100_000, 2)).astype(np.float32)
    for chunk in in_chunks(ab):
        assert_is_the_brute_force_code(encode(chunk), chunk)


def test_equals_brute_force_on_the_faces_of_the_srgb_cube():
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (100_000, 3), dtype=np.uint8)
    rgb[np.arange(len(rgb)), rng.integers(0, 3, len(rgb))] = rng.choice([0, 255], len(rgb))
    ab = np.asarray(rgb_to_lab(rgb))[:, 1:]
    for chunk in in_chunks(ab):
        assert_is_the_brute_force_code(encode(chunk), chunk)


def test_equals_brute_force_where_distances_tie():
    # All multiples of 2.5: the bins, the middles between them, the corners of the cells and of the range.
    axis = np.arange(-130, 130.1, 2.5, dtype=np.float32)
    ab = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for chunk in in_chunks(ab):
        assert_is_the_brute_force_code(encode(chunk), chunk)


def test_equals_brute_force_next_to_the_borders_of_cells():
    axis = np.arange(-127.5, 130, 2.5, dtype=np.float32)
    axis = np.concatenate([np.nextafter(axis, np.float32(-999)), np.nextafter(axis, np.float32(999))])
    ab = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for chunk in in_chunks(ab):
        assert_is_the_brute_force_code(encode(chunk), chunk)


def test_any_number_of_bins_equals_brute_force():
    ab = np.random.default_rng(2).uniform(-130, 130, (40, 50, 2)).astype(np.float32)
    indices, weights = soft_encode_nearest(ab, nearest=10, sigma=7.0)
    squared = squared_distances(ab.reshape(-1, 2)).reshape(40, 50, -1)
    expected = np.sort(squared, axis=-1)[..., :10]
    np.testing.assert_allclose(
        np.take_along_axis(squared, np.asarray(indices), axis=-1), expected, rtol=2e-6, atol=1e-4
    )
    gaussian = np.exp(-expected / (2 * 7.0**2))
    np.testing.assert_allclose(weights, gaussian / gaussian.sum(axis=-1, keepdims=True), atol=1e-5)


@given(
    hnp.arrays(np.float32, (8, 2), elements=st.floats(-130, 130, width=32)),
    st.sampled_from([2.5, 5.0, 25.0]),
)
@settings(max_examples=50, deadline=None)
def test_any_color_and_sigma_equals_brute_force(ab, sigma):
    assert_is_the_brute_force_code(soft_encode(ab, sigma=sigma), ab, sigma=sigma)


def stacked(ab: np.ndarray) -> SoftCode:
    planes = jax.jit(soft_encode_planes)(ab)
    return SoftCode(*(jnp.stack(arrays, axis=-1) for arrays in planes))


@pytest.mark.parametrize("encode", [encode, stacked], ids=["code", "planes"])
def test_agrees_with_scikit_learn(encode):
    ab = np.random.default_rng(2).uniform(-110, 110, (5000, 2)).astype(np.float32)
    distance, index = NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(BINS).kneighbors(ab.astype(np.float64))
    gaussian = np.exp(-(distance**2 - distance[:, :1] ** 2) / 50)
    code = encode(ab)
    clear = np.all(np.diff(distance, axis=1) > 1e-3, axis=1)
    assert np.mean(clear) > 0.9
    np.testing.assert_array_equal(np.asarray(code.indices)[clear], index[clear])
    np.testing.assert_allclose(code.weights, gaussian / gaussian.sum(axis=1, keepdims=True), atol=1e-5)


def test_hand_computed_code_of_a_bin():
    # (0, 0) is a bin: distance 0, and four neighbours at 10, exp(-100 / 50) each.
    code = soft_encode(np.zeros((1, 2), np.float32))
    neighbour = np.exp(-2.0)
    np.testing.assert_allclose(code.weights[0], np.array([1] + [neighbour] * 4) / (1 + 4 * neighbour), atol=1e-6)
    assert AB_BINS[code.indices[0, 0]].tolist() == [0, 0]
    neighbours = {tuple(ab) for ab in AB_BINS[np.asarray(code.indices[0, 1:])].tolist()}
    assert neighbours == {(10, 0), (-10, 0), (0, 10), (0, -10)}


@pytest.mark.parametrize("far", [131.0, 1e4, 1e30, np.inf])
def test_colors_beyond_the_range_are_moved_to_its_border(far):
    corners = np.array(list(itertools.product([-far, far], repeat=2)), np.float32)
    code = encode(corners)
    assert_is_the_brute_force_code(code, np.clip(corners, -130, 130))


def test_nan_stays_in_bounds():
    code = encode(np.full((3, 2), np.nan, np.float32))
    assert np.all((np.asarray(code.indices) >= 0) & (np.asarray(code.indices) < 313))
    assert np.all(np.isnan(code.weights))


def test_nearest_bin_is_the_nearest():
    ab = np.random.default_rng(3).uniform(-130, 130, (20_000, 2)).astype(np.float32)
    squared = squared_distances(ab)
    index = np.asarray(nearest(ab))
    assert index.dtype == np.int32
    np.testing.assert_allclose(squared[np.arange(len(ab)), index], squared.min(axis=1), rtol=2e-6, atol=1e-4)
    np.testing.assert_array_equal(index, encode(ab).indices[:, 0])


def test_every_bin_is_its_own_nearest():
    np.testing.assert_array_equal(nearest_bin(AB_BINS), np.arange(313))


def test_the_network_sorts_the_five_smallest_of_seven():
    # A network that selects from all sequences of 0 and 1 selects from all sequences (Knuth's 0-1 principle).
    for values in itertools.product([0, 1], repeat=bins.CANDIDATES):
        wires = list(values)
        for i, j in SORTING_NETWORK:
            wires[i], wires[j] = min(wires[i], wires[j]), max(wires[i], wires[j])
        assert wires[:5] == sorted(values)[:5]


def test_leading_axes_are_free():
    ab = np.random.default_rng(4).uniform(-100, 100, (2, 3, 4, 2)).astype(np.float32)
    code, flat = soft_encode(ab), soft_encode(ab.reshape(-1, 2))
    assert code.indices.shape == code.weights.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(code.indices.reshape(-1, 5), flat.indices)
    np.testing.assert_array_equal(soft_encode(ab[0, 0, 0]).indices, code.indices[0, 0, 0])
    assert nearest_bin(ab).shape == (2, 3, 4)
    assert soft_encode(ab[:0]).weights.shape == (0, 3, 4, 5)


def test_planes_hold_the_code():
    ab = np.random.default_rng(6).uniform(-140, 140, (7, 50, 2)).astype(np.float32)
    code, planes = soft_encode(ab, sigma=3.0), soft_encode_planes(ab, sigma=3.0)
    assert len(planes.indices) == len(planes.weights) == 5
    np.testing.assert_array_equal(np.stack(planes.indices, axis=-1), code.indices)
    np.testing.assert_allclose(np.stack(planes.weights, axis=-1), code.weights, atol=1e-6)


def test_vmap_and_grad_pass_through():
    ab = jnp.array(np.random.default_rng(5).uniform(-100, 100, (3, 4, 2)), jnp.float32)
    np.testing.assert_array_equal(jax.vmap(soft_encode)(ab).indices, soft_encode(ab).indices)
    gradient = jax.grad(lambda x: jnp.sum(soft_encode(x).weights ** 2))(ab)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("function", [soft_encode, soft_encode_planes])
def test_sigma_must_be_positive(function, sigma):
    with pytest.raises(UserError, match="sigma"):
        function(np.zeros((1, 2), np.float32), sigma=sigma)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
@pytest.mark.parametrize("function", [soft_encode, soft_encode_planes, nearest_bin])
def test_wrong_shape_is_refused(function, shape):
    with pytest.raises(ValueError, match="last axis of 2"):
        function(np.zeros(shape, np.float32))
