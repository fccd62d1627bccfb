"""The comparison networks: parameter counts against published facts, shapes for any size, structure."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.transform import resize

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.iizuka2016 import Iizuka2016
from semcolor_jax.baselines.larsson2016 import LAYERS, Larsson2016, sample_bilinear
from semcolor_jax.baselines.zhang2016 import Siggraph17
from semcolor_jax.color import AB_BINS
from semcolor_jax.config import METHODS, default
from semcolor_jax.inference.branches import branch_colors
from semcolor_jax.models import Predictions
from semcolor_jax.models.semcolor import Enlargement

BASELINES = METHODS[1:]


def config_of(method, *, width=64):
    config = default()
    config.model.method = method
    config.model.width = width
    config.model.global_side = 224 if width == 64 else 32
    return config


def shapes_of(model):
    lightness = jnp.zeros((1, 16, 16, 1))
    return jax.eval_shape(lambda key: model.init(key, lightness, train=False), jax.random.key(0))


def random_variables(model):
    """Variables without compiling or running an initialiser."""
    rng = np.random.default_rng(0)
    shapes = shapes_of(model)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes["params"])
    return {
        "params": params,
        "batch_stats": jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes["batch_stats"]),
    }


def parameters(model):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(model)["params"]))


def test_eccv16_has_the_published_number_of_parameters():
    """The PyTorch port's 32 236 011 include the 313 bin centres of its last layer, which are no parameters here."""
    assert parameters(build_model(config_of("zhang2016"))) == 32_236_011 - 2 * 313


def test_siggraph17_has_the_published_number_of_parameters():
    """The number is that of the PyTorch port; `test_zhang_torch.py` counts it there."""
    assert parameters(build_model(config_of("siggraph17"))) == 34_187_027


def test_larsson_has_the_size_of_the_published_file():
    """588.16 MB of float32; the released file has 588 203 256 bytes, a few of them its structure."""
    count = parameters(build_model(config_of("larsson2016")))
    assert round(4 * count / 1e6, 2) == 588.16
    assert 0 < 588_203_256 - 4 * count < 100_000


def test_larsson_has_the_published_hypercolumn():
    params = shapes_of(build_model(config_of("larsson2016")))["params"]
    channels = [params[f"hidden_{name}"]["kernel"].shape[0] for name in LAYERS]
    assert channels[:3] == [1, 64, 64]
    assert sum(channels) == 12_417
    assert len(channels) == 16


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
    assert parameters(Iizuka2016(batch_norm=False)) == plain
    normalised = 64 + 128 * 2 + 256 * 2 + 512 + 512 + 256 + 4 * 512 + 128 + 64 * 2 + 32
    assert parameters(build_model(config_of("iizuka2016"))) == plain + 2 * normalised


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("size", [(1, 1), (37, 51), (64, 32)])
def test_any_size_comes_back(method, size):
    model = build_model(config_of(method, width=4))
    out = jax.eval_shape(
        lambda variables, x: model.apply(variables, x, train=False),
        shapes_of(model),
        jax.ShapeDtypeStruct((2, *size, 1), jnp.float32),
    )
    if method == "zhang2016":
        assert out.color_logits.shape == (2, -(-size[0] // 4), -(-size[1] // 4), 313)
        assert out.enlargement == Enlargement(4, *size)
    else:
        assert out.ab.shape == (2, *size, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("method", BASELINES)
def test_equal_configs_give_equal_networks_and_widths_scale(method):
    config = config_of(method, width=8)
    assert build_model(config) == build_model(config)
    assert hash(build_model(config)) == hash(build_model(config))
    assert parameters(build_model(config)) < parameters(build_model(config_of(method, width=16)))
    config.model.dtype = "bfloat16"
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes_of(build_model(config))["params"])} == {jnp.dtype("float32")}


def test_colours_of_a_lower_resolution_are_enlarged_after_decoding():
    """Two cells of certain colour: between their centres, bilinear; scikit-image is the reference."""
    logits = np.full((1, 2, 2, 313), -1e4, np.float32)
    bins = np.array([[0, 100], [200, 312]])
    for row in range(2):
        for column in range(2):
            logits[0, row, column, bins[row, column]] = 0
    predictions = Predictions(color_logits=jnp.asarray(logits), enlargement=Enlargement(4, 7, 6))
    ab = branch_colors(predictions, temperature=0.38)["soft"]
    assert ab.shape == (1, 7, 6, 2)
    expected = resize(AB_BINS[bins], (8, 8), order=1, mode="edge", anti_aliasing=False)[:7, :6]
    np.testing.assert_allclose(ab[0], expected, atol=1e-3)


@pytest.mark.slow
def test_hints_matter():
    model = Siggraph17(width=1)
    lightness = np.random.default_rng(0).uniform(0, 100, (1, 8, 8, 1)).astype(np.float32)
    variables = random_variables(model)
    apply = jax.jit(functools.partial(model.apply, train=False))
    hints = np.zeros((1, 8, 8, 3), np.float32)
    none = apply(variables, lightness, hints=hints).ab
    hints[:, 2:6, 2:6] = 60.0, -60.0, 1.0
    assert np.max(np.abs(none - apply(variables, lightness, hints=hints).ab)) > 1e-4


@pytest.mark.slow
def test_the_sparse_hypercolumn_agrees_with_the_dense_one():
    """On a photo without detail both read the same layers, up to what the borders put into them."""
    model = Larsson2016(width=1)
    lightness = jnp.full((1, 64, 64, 1), 60.0)
    logits = jax.jit(functools.partial(model.apply, train=False, method="histogram_logits"))
    variables = random_variables(model)
    dense = logits(variables, lightness)
    # The centres of two cells of the coarsest layer.
    places = jnp.asarray([[[15.5, 15.5], [47.5, 15.5]]])
    sparse = logits(variables, lightness, places=places)
    assert sparse.hue.shape == (1, 2, 32)
    assert dense.hue.shape == (1, 16, 16, 32)
    # The centre of a 32-pixel cell lies in the corner of four 4-pixel cells: their mean is the value there.
    for part_sparse, part_dense in zip(sparse, dense, strict=True):
        corner = jnp.mean(part_dense[0, 3:5, 3:5], axis=(0, 1))
        np.testing.assert_allclose(part_sparse[0, 0], corner, rtol=1e-2, atol=1e-2)


def test_bilinear_sampling_by_hand():
    features = jnp.arange(6.0).reshape(1, 2, 3, 1)  # rows 0 1 2 / 3 4 5, cells of 4x4 pixels with centres at 1.5, 5.5
    places = jnp.asarray([[[1.5, 1.5], [3.5, 5.5], [1.5, 2.5], [0.0, 0.0], [7.0, 11.0]]])
    read = sample_bilinear(features, places, stride=4)[0, :, 0]
    np.testing.assert_allclose(read, [0.0, 1.0 + 1.5, 0.25, 0.0, 5.0])
