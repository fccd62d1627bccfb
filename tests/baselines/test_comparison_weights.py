"""Published layouts of the comparison methods' weights, written small, read, and put into a work directory."""

import h5py
import jax
import numpy as np
import pytest
from pth_files import write_pth
from test_caffe import caffe_messages

from semcolor_jax.baselines.comparison_weights import load_published
from semcolor_jax.baselines.larsson2016 import LAYERS
from semcolor_jax.checkpoints import published
from semcolor_jax.checkpoints.training_runs import load_config
from semcolor_jax.cli.main import main
from semcolor_jax.color import AB_BINS
from semcolor_jax.config import default
from semcolor_jax.errors import UserError
from semcolor_jax.inference.restore import load_colorizer, load_predictor

ZHANG_CONVOLUTIONS = (2, 2, 3, 3, 3, 3, 3)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def small(monkeypatch):
    """Makes the command build networks a 64th as wide as the published ones, for files as small."""

    def thin():
        config = default()
        config.model.width = 1
        return config

    monkeypatch.setattr(published, "default", thin)


def random_layer(rng, *shape):
    return [rng.normal(0, 0.3, shape).astype(np.float32), rng.normal(0, 0.1, shape[0]).astype(np.float32)]


def zhang_blobs(rng):
    """As the authors' prototxt names and shapes them, thin."""
    layers, before = {}, 1
    for block, (count, channels) in enumerate(zip(ZHANG_CONVOLUTIONS, (1, 2, 4, 8, 8, 8, 8), strict=True), start=1):
        for index in range(1, count + 1):
            name = "bw_conv1_1" if (block, index) == (1, 1) else f"conv{block}_{index}"
            layers[name] = random_layer(rng, channels, before, 3, 3)
            before = channels
        mean, variance = rng.normal(size=channels), rng.uniform(0.5, 2, channels)
        layers[f"conv{block}_{count}norm"] = [mean * 20, variance * 20, np.array([20.0])]
    layers["conv8_1"] = [rng.normal(size=(8, 4, 4, 4)), rng.normal(size=4)]
    layers["conv8_2"], layers["conv8_3"] = random_layer(rng, 4, 4, 3, 3), random_layer(rng, 4, 4, 3, 3)
    layers["conv8_313"] = random_layer(rng, 313, 4, 1, 1)
    return layers


def zhang_tensors(rng):
    """As the authors' PyTorch port names and shapes them, thin."""
    tensors, before = {}, 1

    def layer(name, *shape):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = random_layer(rng, *shape)

    for block, (count, channels) in enumerate(zip(ZHANG_CONVOLUTIONS, (1, 2, 4, 8, 8, 8, 8), strict=True), start=1):
        for index in range(count):
            layer(f"model{block}.{2 * index}", channels, before, 3, 3)
            before = channels
        layer(f"model{block}.{2 * count}", channels)
        for statistic in ("running_mean", "running_var"):
            tensors[f"model{block}.{2 * count}.{statistic}"] = rng.uniform(0.5, 2, channels).astype(np.float32)
    for name, *shape in (("0", 8, 4, 4, 4), ("2", 4, 4, 3, 3), ("4", 4, 4, 3, 3), ("6", 313, 4, 1, 1)):
        layer(f"model8.{name}", *shape)
    tensors["model8.0.bias"] = tensors["model8.0.bias"][:4]
    order = rng.permutation(313)  # the converter finds the bins by their centres
    tensors["model_out.weight"] = (AB_BINS[order].T[:, :, None, None] / 110).astype(np.float32)
    return tensors


def larsson_blobs(rng, *, folded):
    layers, before, total = {}, 1, 1
    for name in LAYERS[1:]:
        channels = 64 if name.startswith("fc") else min(8, 2 ** (int(name[4]) - 1))
        kernel = {"fc6": 7, "fc7": 1}.get(name, 3)
        layers[name] = random_layer(rng, channels, before, kernel, kernel)
        if not folded:
            layers[f"batch_{name}"] = [np.ones(channels) * 3, np.ones(channels) * 6, np.array([3.0])]
        before, total = channels, total + channels
    one = (1, 1) if folded else ()
    names = ("h_fc1", "prediction_h", "prediction_c") if folded else ("colorize_fc1", "prediction_h4", "prediction_c4")
    for name, shape in zip(names, ((16, total), (32, 16), (32, 16)), strict=True):
        layers[name] = random_layer(rng, *shape, *one)
    return layers


def write_caffemodel(path, layers):
    net = caffe_messages()["NetParameter"]()
    for name, blobs in layers.items():
        layer = net.layer.add(name=name)
        for blob in blobs:
            layer.blobs.add(shape={"dim": blob.shape}, data=blob.ravel())
    path.write_bytes(net.SerializeToString())
    return path


def write_h5(path, layers):
    with h5py.File(path, "w") as file:
        for name, blobs in layers.items():
            for index, blob in enumerate(blobs):
                file[f"data/{name}/{index}"] = blob
        file.create_group("data/relu1_1")
    return path


def test_zhang_from_caffe(tmp_path, rng):
    blobs = zhang_blobs(rng)
    weights = load_published("zhang2016", write_caffemodel(tmp_path / "x.caffemodel", blobs))
    kernel = blobs["bw_conv1_1"][0]
    np.testing.assert_allclose(weights.params["conv1_1"]["kernel"][2, 0, 0, 0], 100 * kernel[0, 0, 2, 0], rtol=1e-6)
    np.testing.assert_array_equal(weights.params["conv3_2"]["kernel"][0, 1, 2, 3], blobs["conv3_2"][0][3, 2, 0, 1])
    up = blobs["conv8_1"][0].astype(np.float32)
    np.testing.assert_array_equal(weights.params["conv8_1"]["kernel"][0, 1, 6, 3], up[6, 3, 3, 2])
    mean, variance, _ = blobs["conv5_3norm"]
    np.testing.assert_allclose(weights.batch_stats["norm5"]["mean"], mean / 20, rtol=1e-6)
    np.testing.assert_allclose(weights.batch_stats["norm5"]["var"], variance / 20, rtol=1e-6)
    np.testing.assert_array_equal(weights.params["norm5"]["scale"], np.ones(8))
    np.testing.assert_array_equal(weights.params["bins"]["kernel"], blobs["conv8_313"][0][:, :, 0, 0].T)


def test_a_converted_zhang_network_decodes_at_the_papers_temperature(tmp_path, rng, small):
    """T = 1 is dull; the temperature belongs to the method, whatever file its weights come from."""
    published.convert("zhang2016", write_pth(tmp_path / "x.pth", zhang_tensors(rng)), tmp_path / "work")
    assert load_config(tmp_path / "work").inference.temperature == 0.38


@pytest.mark.parametrize("folded", [True, False])
def test_larsson_from_both_of_caffes_formats(tmp_path, rng, folded):
    blobs = larsson_blobs(rng, folded=folded)
    weights = load_published("larsson2016", write_h5(tmp_path / "x.caffemodel.h5", blobs))
    again = load_published("larsson2016", write_caffemodel(tmp_path / "x.caffemodel", blobs))
    jax.tree.map(
        np.testing.assert_array_equal, (weights.params, weights.batch_stats), (again.params, again.batch_stats)
    )
    assert weights.settings["model.gray_mean"] == (0.0 if folded else 0.4488)
    hidden = np.concatenate([weights.params[f"hidden_{name}"]["kernel"] for name in LAYERS])
    theirs = blobs["h_fc1" if folded else "colorize_fc1"]
    np.testing.assert_array_equal(hidden, theirs[0].reshape(16, -1).T)
    np.testing.assert_array_equal(weights.params["hidden_data"]["bias"], theirs[1])
    statistics = weights.batch_stats["norm_conv2_1"]
    if folded:  # neutral: (x - mean) / sqrt(variance + epsilon) = x
        np.testing.assert_allclose(np.sqrt(statistics["var"] + 1e-5), 1.0, rtol=1e-6)
        assert not np.any(statistics["mean"])
    else:
        np.testing.assert_array_equal(statistics["mean"], np.ones(2))
        np.testing.assert_array_equal(statistics["var"], np.full(2, 2.0))


@pytest.mark.slow
def test_the_command_writes_a_work_directory_that_colours(tmp_path, rng, small, monkeypatch):
    file = write_caffemodel(tmp_path / "x.caffemodel", zhang_blobs(rng))
    main(["convert", "zhang2016", str(file), "-o", str(tmp_path / "work")])
    photo = rng.integers(0, 256, (21, 30, 3)).astype(np.uint8)
    assert load_colorizer(tmp_path / "work")(photo).rgb.shape == photo.shape
    restored = load_predictor(tmp_path / "work").variables
    expected = load_published("zhang2016", file)
    jax.tree.map(np.testing.assert_array_equal, restored["params"], expected.params)
    with pytest.raises(UserError, match="in use already"):
        published.convert("zhang2016", file, tmp_path / "work")


def test_refusals_say_what_is_wrong(tmp_path, rng, small, capsys):
    with pytest.raises(UserError, match="no file"):
        load_published("zhang2016", tmp_path / "missing.pth")
    torch7 = tmp_path / "colornet.t7"
    torch7.write_bytes(b"\x04\x00\x00\x00")
    with pytest.raises(SystemExit) as left:
        main(["convert", "iizuka2016", str(torch7), "-o", str(tmp_path / "work")])
    assert left.value.code == 2
    assert "no maintained Python package" in capsys.readouterr().err
    blobs = zhang_blobs(rng)
    del blobs["conv5_2"]
    with pytest.raises(UserError, match=r"has 0 arrays in layer 'conv5_2', where 2 belong"):
        load_published("zhang2016", write_caffemodel(tmp_path / "x.caffemodel", blobs))
    wide = {**zhang_blobs(rng), "conv2_1": random_layer(rng, 3, 1, 3, 3)}
    with pytest.raises(UserError, match=r"params/conv2_1/.* has the shape"):
        published.convert("zhang2016", write_caffemodel(tmp_path / "y.caffemodel", wide), tmp_path / "work")
    assert not (tmp_path / "work").exists()
    broken = tmp_path / "z.caffemodel.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        load_published("larsson2016", broken)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1.0
    with pytest.raises(UserError, match="no group 'data'"):
        load_published("larsson2016", tmp_path / "other.h5")
