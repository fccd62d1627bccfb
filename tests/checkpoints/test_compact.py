"""float16 and int8 against a loop in numpy, and what 8 bits cost the released model's colours."""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from semcolor_jax.checkpoints.compact import SCALE, pack, quantize, unpack
from semcolor_jax.data import embedded
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer
from semcolor_jax.models import Predictor


def test_quantized_kernels_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 4, 5)).astype(np.float32) * np.logspace(-3, 1, 5, dtype=np.float32)
    kernel[..., 2] = 0
    values, scales = quantize(kernel)
    assert (values.dtype, scales.dtype, scales.shape) == (np.int8, np.float32, (5,))
    for channel in range(5):
        flat = [float(w) for w in kernel[..., channel].ravel()]
        scale = max(abs(w) for w in flat) / 127 or 1.0
        assert [round(w / scale) for w in flat] == values[..., channel].ravel().tolist()
        assert np.max(np.abs(kernel[..., channel] - values[..., channel] * scales[channel])) <= scale / 2 * 1.0001


def test_what_is_packed_comes_back_in_float32():
    rng = np.random.default_rng(1)
    large, head = rng.normal(size=(3, 3, 64, 64)), rng.normal(size=(1, 1, 32, 2))
    variables = {
        "params": {"conv": {"kernel": large, "bias": np.arange(64)}, "head": {"kernel": head}},
        "batch_stats": {"norm": {"var": np.array([1e9, 1.0])}},  # beyond float16
    }
    packed = pack(variables, bits=8)
    kernel = "params/conv/kernel"
    assert {name for name in packed if packed[name].dtype == np.int8} == {kernel}
    assert packed[kernel + SCALE].shape == (64,)
    unpacked = unpack(packed)
    assert unpacked.keys() == flatten_dict(variables, sep="/").keys()
    assert {array.dtype for array in unpacked.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(unpacked[kernel], large, atol=np.max(np.abs(large)) / 250)
    np.testing.assert_array_equal(unpacked["params/head/kernel"], np.asarray(head, np.float16))
    np.testing.assert_array_equal(unpacked["batch_stats/norm/var"], np.array([1e9, 1.0], np.float32))
    np.testing.assert_array_equal(unpack(pack(variables))[kernel], np.asarray(large, np.float16))


@pytest.mark.slow
def test_eight_bits_hardly_change_the_released_models_colours():
    """Measured over all pixels of the embedded photos: mean 0.13, largest 1.7 ab units; bounds: 0.3 and 5.

    The release itself is in 8 bits, so its kernels are first moved by a hundredth of their spread, off that grid.
    """
    released = load_colorizer(DEFAULT_MODEL)
    assert isinstance(released.predictor, Predictor)
    rng = np.random.default_rng(0)
    model, variables = released.predictor.model, jax.device_get(released.predictor.variables)
    moved_off = jax.tree.map(lambda a: a + (0.01 * np.std(a) * rng.standard_normal(a.shape)).astype(a.dtype), variables)
    again = unflatten_dict(unpack(pack(moved_off, bits=8)), sep="/") | {"batch_stats": {}}
    before, after = (
        dataclasses.replace(released, predictor=Predictor(model, weights)) for weights in (moved_off, again)
    )
    photos = [sample.image for sample in embedded.photos()]
    moved = [before.colors([photo])[0] - after.colors([photo])[0] for photo in photos]
    distances = np.concatenate([np.linalg.norm(ab, axis=-1).ravel() for ab in moved])
    assert 0 < distances.mean() < 0.3
    assert distances.max() < 5
