import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_network import relu, same_convolution, vgg_like_network

from semcolor_jax.config import VARIANTS
from semcolor_jax.models import Features, SemColorNet


def lightness(rng, *shape):
    return jnp.asarray(rng.uniform(0, 100, (*shape, 1)), jnp.float32)


def shapes_of(model):
    image = jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.float32)
    return jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), image)


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def conv(inputs, outputs):
    """Parameters of a 3x3 convolution: kernel and bias."""
    return 9 * inputs * outputs + outputs


def test_forward_pass_equals_the_slow_numpy_network(net, variables, rng):
    x = lightness(rng, 2, 32, 48)
    predictions = net.apply(variables, x, train=False)
    host = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
    for i in range(2):
        expected = vgg_like_network(np.asarray(x[i], np.float64), host["params"], host["batch_stats"])
        for name, theirs in expected.items():
            ours = getattr(predictions, name)[i]
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max(), err_msg=name)
    assert predictions.enlargement is None


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (31, 33), (16, 16), (3, 40)])
def test_predictions_have_the_size_of_any_image(net, variables, rng, size):
    assert_shapes(net.apply(variables, lightness(rng, 2, *size), train=False), size)


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (31, 33)])
def test_predictions_of_vgg16_have_the_size_of_any_image(vgg16_net, vgg16_variables, rng, size):
    assert_shapes(vgg16_net.apply(vgg16_variables, lightness(rng, 2, *size), train=False), size)


def assert_shapes(predictions, size):
    assert predictions.ab.shape == (2, *size, 2)
    assert predictions.color_logits.shape == (2, *size, 313)
    assert predictions.seg_logits.shape == (2, *size, 183)
    assert predictions.scene_logits.shape == (2, 365)
    for leaf in jax.tree.leaves(predictions):
        assert leaf.dtype == jnp.float32
        assert jnp.isfinite(leaf).all()
    assert jnp.abs(predictions.ab).max() <= 110


def test_parameters_of_the_papers_network_counted_by_hand():
    variables = shapes_of(SemColorNet(width=64, scene_features=512))
    params = variables["params"]
    encoder = [
        conv(1, 64) + conv(64, 64) + 2 * 64,  # a batch normalisation has a scale and a bias per filter
        conv(64, 128) + conv(128, 128) + 2 * 128,
        conv(128, 256) + conv(256, 256) + 2 * 256,
        conv(256, 512) + conv(512, 512) + 2 * 512,
        conv(512, 1024) + conv(1024, 1024) + 2 * 1024,
    ]
    decoder = [  # the first convolution sees the up-sampled features and the skip
        conv(1024 + 512, 512) + 2 * conv(512, 512),
        conv(512 + 256, 256) + 2 * conv(256, 256),
        conv(256 + 128, 128) + 2 * conv(128, 128),
        conv(128 + 64, 64) + 2 * conv(64, 64),
    ]
    assert count(params["backbone"]) == sum(encoder) == 18_846_016
    assert count(params["decoder"]) == sum(decoder) == 15_670_080
    assert count(params["scene_head"]) == (1024 + 1) * 512 + (512 + 1) * 365 == 712_045
    heads = [count(params[name]) for name in ("soft_head", "reg_head", "seg_head")]
    assert heads == [65 * 313, 65 * 2, 65 * 183]
    assert count(params) == 18_846_016 + 15_670_080 + 712_045 + 32_370 == 35_260_511
    assert count(variables["batch_stats"]) == 2 * (64 + 128 + 256 + 512 + 1024)


def test_parameters_with_the_literal_vgg16_counted_by_hand():
    variables = shapes_of(SemColorNet(width=64, scene_features=512, encoder="vgg16"))
    params = variables["params"]
    vgg16 = [
        conv(3, 64) + conv(64, 64),
        conv(64, 128) + conv(128, 128),
        conv(128, 256) + 2 * conv(256, 256),
        conv(256, 512) + 2 * conv(512, 512),
        3 * conv(512, 512),
    ]
    decoder = [
        conv(512 + 512, 512) + 2 * conv(512, 512),
        conv(512 + 256, 256) + 2 * conv(256, 256),
        conv(256 + 128, 128) + 2 * conv(128, 128),
        conv(128 + 64, 64) + 2 * conv(64, 64),
    ]
    assert count(params["backbone"]) == sum(vgg16) == 14_714_688  # Keras' VGG16 without top has as many
    assert count(params["decoder"]) == sum(decoder) == 13_310_784
    assert count(params) == 14_714_688 + 13_310_784 + (513 * 512 + 513 * 365) + 32_370 == 28_507_743
    assert "batch_stats" not in variables


@pytest.mark.parametrize("branches", [*VARIANTS.values(), ("seg",), ("scene",)], ids="-".join)
def test_a_branch_that_is_off_has_no_parameters_and_no_prediction(branches):
    model = SemColorNet(width=2, scene_features=4, branches=branches)
    variables = shapes_of(model)
    image = jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.float32)
    predictions = vars(jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image))
    fields = {"soft": "color_logits", "reg": "ab", "scene": "scene_logits", "seg": "seg_logits"}
    assert variables["params"].keys() == {"backbone", "decoder"} | {f"{name}_head" for name in branches}
    for name, field in fields.items():
        assert (predictions[field] is not None) == (name in branches)


@pytest.mark.parametrize("field", [{"encoder": "vgg19"}, {"branches": ("soft", "depth")}])
def test_unknown_names_are_refused(field):
    with pytest.raises(ValueError, match="unknown"):
        shapes_of(SemColorNet(width=2, **field))


def test_heads_of_parts_of_the_map_make_up_the_whole_prediction(net, variables, rng):
    x = lightness(rng, 2, 20, 30)
    whole = net.apply(variables, x, train=False)
    features = net.apply(variables, x, train=False, method=net.features)
    assert isinstance(features, Features)
    assert features.map.shape == (2, 20, 30, 4)
    rows = [net.apply(variables, features.map[:, i : i + 5], method=net.heads) for i in range(0, 20, 5)]
    for name in ("ab", "color_logits", "seg_logits"):
        joined = jnp.concatenate([getattr(row, name) for row in rows], axis=1)
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features.scene_logits, whole.scene_logits)
    assert rows[0].scene_logits is None


def test_training_starts_at_little_colour_and_flat_distributions(net, fresh, rng):
    predictions = net.apply(fresh, lightness(rng, 1, 32, 32), train=False)
    for logits in (predictions.color_logits, predictions.seg_logits, predictions.scene_logits):
        assert jnp.abs(logits).max() < 1
    assert jnp.abs(predictions.ab).mean() < 20


def test_biases_start_at_zero_and_kernels_do_not(fresh):
    for path, leaf in jax.tree.leaves_with_path(fresh["params"]):
        kind = path[-1].key
        assert kind in {"kernel", "bias", "scale"}
        assert bool(leaf.any()) == (kind != "bias"), path


def test_kernels_before_a_relu_start_with_hes_variance_and_heads_small(fresh):
    kernel = fresh["params"]["backbone"]["conv5_2"]["kernel"]  # 64 filters of 3x3x64
    assert float(kernel.std()) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert float(fresh["params"]["soft_head"]["kernel"].std()) == pytest.approx(0.01, rel=0.1)


def test_statistics_move_in_training_only(net, variables, rng):
    x = lightness(rng, 2, 32, 32)
    _, updated = net.apply(variables, x, train=False, mutable=["batch_stats"])
    for old, new in pairs(variables["batch_stats"], updated["batch_stats"]):
        np.testing.assert_array_equal(old, new)
    _, updated = net.apply(variables, x, train=True, mutable=["batch_stats"])
    for old, new in pairs(variables["batch_stats"], updated["batch_stats"]):
        assert (old != new).all()


def test_statistics_are_running_means_with_momentum_099(net, variables, rng):
    """The first normalisation, its input computed in numpy."""
    x = lightness(rng, 2, 32, 32)
    _, updated = net.apply(variables, x, train=True, mutable=["batch_stats"])
    encoder = jax.tree.map(np.asarray, variables["params"]["backbone"])
    features = np.stack(
        [
            relu(same_convolution(relu(same_convolution(i / 50 - 1, encoder["conv1_1"])), encoder["conv1_2"], 2))
            for i in np.asarray(x)
        ]
    )
    old, new = (tree["batch_stats"]["backbone"]["norm1"] for tree in (variables, updated))
    mean, var = features.mean((0, 1, 2)), features.var((0, 1, 2))
    np.testing.assert_allclose(new["mean"], 0.99 * old["mean"] + 0.01 * mean, rtol=1e-4)
    np.testing.assert_allclose(new["var"], 0.99 * old["var"] + 0.01 * var, rtol=1e-4)


def pairs(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


@pytest.mark.parametrize("encoder", ["vgg_like", "vgg16"])
def test_the_gradient_reaches_every_parameter(encoder, request, rng):
    prefix = "" if encoder == "vgg_like" else "vgg16_"
    model, variables = request.getfixturevalue(prefix + "net"), request.getfixturevalue(prefix + "variables")
    x = lightness(rng, 2, 32, 32)

    @jax.jit
    @jax.grad
    def gradient(params):
        predictions, _ = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(predictions))

    for path, leaf in jax.tree.leaves_with_path(gradient(variables["params"])):
        assert jnp.isfinite(leaf).all(), path
        assert jnp.abs(leaf).max() > 0, path


@pytest.mark.parametrize("train", [False, True])
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_in_float32(net, variables, rng, train):
    model = net.clone(dtype=jnp.bfloat16)
    x = lightness(rng, 2, 32, 32)
    predictions, updated = model.apply(variables, x, train=train, mutable=["batch_stats"])
    features, _ = model.apply(variables, x, train=train, mutable=["batch_stats"], method=model.features)
    assert features.map.dtype == jnp.bfloat16
    for leaf in jax.tree.leaves((shapes_of(model), predictions, updated)):
        assert leaf.dtype == jnp.float32
    exact, _ = net.apply(variables, x, train=train, mutable=["batch_stats"])
    for ours, theirs in pairs(predictions, exact):
        assert jnp.linalg.norm(ours - theirs) < 0.05 * jnp.linalg.norm(theirs)
