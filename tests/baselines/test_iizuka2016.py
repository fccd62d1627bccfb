"""Iizuka et al. 2016: size, loss against slow numpy, what the scene's gradient reaches."""

import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from skimage.color import rgb2lab
from small_files import iizuka_arrays
from small_methods import SIDE, inputs_of, losses_of, parameters, shapes_of

from semcolor_jax.baselines.methods.iizuka2016 import Iizuka2016, layer_shapes, load_published, network_input, objective
from semcolor_jax.errors import UserError
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
    terms = losses_of(objective, predictions, inputs_of("iizuka2016", image))
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


def test_the_converted_file(tmp_path, rng):
    arrays: dict[str, Any] = iizuka_arrays(rng)
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    weights: Any = load_published(tmp_path / "x.npz")
    assert weights.settings == {
        "model.input": "grey",
        "model.input_mean": pytest.approx(0.45),
        "model.batch_norm": True,
        "model.scenes": False,
        "model.global_side": 64,
    }
    theirs = arrays["color2.conv1.weight"]
    np.testing.assert_array_equal(weights.params["color2"]["conv1"]["kernel"][0, 2, 1, 0], theirs[0, 1, 0, 2])
    statistics = weights.batch_stats["global"]["norm4"]
    np.testing.assert_array_equal(statistics["var"], arrays["global.norm4.running_var"])
    # Theirs fuses (global, mid-level), ours (mid-level, global).
    theirs, ours = arrays["fusion.weight"][:, :, 0, 0], weights.params["fusion"]["kernel"][0, 0]
    np.testing.assert_array_equal(ours, np.concatenate([theirs[:, 4:], theirs[:, :4]], axis=1).T)
    # Their features are (C, H, W) when they become a vector, ours (H, W, C).
    features = rng.normal(size=(8, 2, 2))
    theirs, ours = arrays["global_dense1.weight"], weights.params["global_dense1"]["kernel"]
    np.testing.assert_allclose(theirs @ features.ravel(), features.transpose(1, 2, 0).ravel() @ ours, rtol=1e-5)


def test_without_batch_normalisation_and_with_a_classifier(tmp_path, rng):
    arrays = {name: array for name, array in iizuka_arrays(rng).items() if ".norm" not in name}
    arrays |= {"scene_hidden.weight": np.zeros((4, 4)), "scene_hidden.bias": np.zeros(4)}
    arrays |= {"scene_logits.weight": np.zeros((365, 4)), "scene_logits.bias": np.zeros(365)}
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    weights = load_published(tmp_path / "x.npz")
    assert weights.batch_stats == {}
    assert (weights.settings["model.batch_norm"], weights.settings["model.scenes"]) == (False, True)
    assert weights.params["scene_logits"]["kernel"].shape == (4, 365)


def test_a_torch7_file_is_refused_with_the_way_to_convert_it(tmp_path):
    (tmp_path / "colornet.t7").write_bytes(b"\x04\0\0\0")
    with pytest.raises(UserError, match=r"tools/iizuka_t7_to_npz\.py .*colornet\.t7 colornet\.npz"):
        load_published(tmp_path / "colornet.t7")
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"not a whole \.npz"):
        load_published(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", mean=0.5)
    with pytest.raises(UserError, match=r"no tensor 'low_level\.conv1\.weight'"):
        load_published(tmp_path / "y.npz")


def torch7_modules():
    """All layers of the published size, as the package torchfile shows them, in an order the graph may have."""
    shapes = layer_shapes()
    parts = ("low_level", "low_level", "global", "mid_level", "fusion", "color", "ab")  # the low level comes twice
    names = [name for part in parts for name in shapes if name.startswith(part)]
    blank = dict.fromkeys(("weight", "bias", "running_mean", "running_var", "kH", "kW", "modules"))
    for name in names:
        value, shape = np.float32(1 + list(shapes).index(name)), shapes[name]
        matrix = len(shape) == 4 and name == "fusion"  # as nn.SpatialConvolutionMM has it
        kernel = np.broadcast_to(value, (shape[0], int(np.prod(shape[1:]))) if matrix else shape)
        size = {"kH": shape[2], "kW": shape[3]} if len(shape) == 4 else {}
        yield SimpleNamespace(**blank | size | {"weight": kernel, "bias": np.full(shape[0], value)})
        if "conv" in name:
            statistics = {key: np.full(shape[0], -value) for key in ("weight", "bias", "running_mean", "running_var")}
            yield SimpleNamespace(**blank | statistics)
        yield SimpleNamespace(**blank)  # a ReLU


def test_the_script_finds_every_layer_of_the_torch7_file():
    path = Path(__file__).parents[2] / "tools" / "iizuka_t7_to_npz.py"
    spec = importlib.util.spec_from_file_location("iizuka_t7_to_npz", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    blank = SimpleNamespace(weight=None, modules=list(torch7_modules()))
    arrays = script.named(list(script.modules_of(SimpleNamespace(weight=None, modules=[blank]))))
    shapes = layer_shapes()
    for value, (name, shape) in enumerate(shapes.items(), start=1):
        assert arrays[f"{name}.weight"].shape == shape
        assert arrays[f"{name}.weight"].flat[0] == arrays[f"{name}.bias"][0] == value
        if "conv" in name:
            assert arrays[f"{name.replace('conv', 'norm')}.running_var"][0] == -value
    assert len(arrays) == 2 * len(shapes) + 4 * sum("conv" in name for name in shapes)
    with pytest.raises(SystemExit, match="no layer of the shape"):
        script.named(list(script.modules_of(blank))[:-1])


def test_the_published_network_sees_grey_and_has_no_classifier():
    """The grey 128 of 255 has the lightness 53.585; a network trained here sees L / 100 - 0.5."""
    np.testing.assert_allclose(network_input(jnp.full((1, 1, 1, 1), 53.585), mean=0.45), 128 / 255 - 0.45, atol=1e-5)
    np.testing.assert_allclose(network_input(jnp.full((1, 1, 1, 1), 53.585), mean=None), 0.03585, atol=1e-6)
    network: Any = Iizuka2016(width=1, global_side=32, scenes=False)
    assert "scene_logits" not in shapes_of(network)["params"]
