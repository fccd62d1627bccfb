"""Released weights and the trained part as a file: what goes in comes out, to the bits of the file."""

import json
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from small_runs import made_up_training, random_variables, small_config

import semcolor_jax
from semcolor_jax.checkpoints import checksums
from semcolor_jax.checkpoints.models import DEFAULT_MODEL, RELEASES, find_model, open_model
from semcolor_jax.checkpoints.releases import export_release
from semcolor_jax.checkpoints.start import start_from
from semcolor_jax.checkpoints.trained_part import load_trained, save_trained
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.models import imagenet_vgg16_params


@pytest.fixture
def config():
    config = small_config()
    config.model.frozen_blocks = 2
    return config


def as_float16(tree):
    return jax.tree.map(lambda array: np.asarray(np.asarray(array, np.float16), np.float32), tree)


def assert_equal(tree, expected):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(tree), expected)


def test_a_released_model_holds_the_weights_of_the_work_directory(tmp_path, config):
    config.data.dir = "/home/somebody/photos"
    variables = made_up_training(tmp_path / "run", config)
    assert export_release(tmp_path / "run", tmp_path / "out") == f"step 4 (best by psnr) of {tmp_path / 'run'}"
    opened = open_model(tmp_path / "out")
    assert_equal(opened.variables, as_float16(variables))
    assert (opened.step, opened.origin, opened.config.model.width) == (None, str(tmp_path / "out"), 2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "weights.npz", "manifest.json"}
    with pytest.raises(UserError, match="exists already"):
        export_release(tmp_path / "run", tmp_path / "out")
    with pytest.raises(UserError, match="no checkpoint 3"):
        open_model(tmp_path / "out", checkpoint=3)
    for file in (tmp_path / "out").iterdir():
        assert b"somebody" not in file.read_bytes(), f"{file} names a folder of this machine"


def test_a_release_in_eight_bits_is_half_as_large_and_close(tmp_path):
    config = small_config()
    config.model.width = 8
    variables = made_up_training(tmp_path / "run", config)
    sizes = {}
    for bits in (8, 16):
        export_release(tmp_path / "run", tmp_path / str(bits), bits=bits)
        sizes[bits] = (tmp_path / str(bits) / "weights.npz").stat().st_size
    assert sizes[8] < 0.6 * sizes[16]
    opened: dict[Any, Any] = flatten_dict(jax.device_get(open_model(tmp_path / "8").variables))
    given: dict[Any, Any] = flatten_dict(variables)
    for name, array in given.items():
        np.testing.assert_allclose(opened[name], array, atol=np.max(np.abs(array)) / 250)


@pytest.mark.parametrize("name", ["weights.npz", "config.json"])
def test_a_damaged_release_is_refused(tmp_path, config, name):
    made_up_training(tmp_path / "run", config)
    export_release(tmp_path / "run", tmp_path / "out")
    content = bytearray((tmp_path / "out" / name).read_bytes())
    content[content.index(b"0", len(content) // 2)] ^= 1  # in config.json: another digit, still JSON
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"out is damaged: {name} does not have its checksum"):
        open_model(tmp_path / "out")


def test_a_release_of_a_later_version_is_refused_and_of_an_earlier_one_gets_defaults(tmp_path, config):
    made_up_training(tmp_path / "run", config)
    export_release(tmp_path / "run", tmp_path / "out")
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    del fields["inference"]["share"]
    (tmp_path / "out" / "config.json").write_text(json.dumps(fields))
    checksums.write_manifest(tmp_path / "out", format=2)
    assert open_model(tmp_path / "out").config.inference.share == 0.5
    checksums.write_manifest(tmp_path / "out", format=3)
    with pytest.raises(UserError, match="has format 3, and this version reads up to 2"):
        open_model(tmp_path / "out")


def test_the_released_model_is_whole_and_opens():
    manifest = checksums.verify(RELEASES / DEFAULT_MODEL)
    assert manifest is not None
    assert (manifest["format"], manifest["bits"]) == (2, 8)
    assert open_model(DEFAULT_MODEL).variables["params"]["backbone"]["conv1_1"]["kernel"].shape == (3, 3, 3, 64)


@pytest.mark.parametrize("bits", [16, 8])
def test_a_training_starts_from_the_trained_part_and_the_rest_is_initialised(tmp_path, config, bits):
    variables = made_up_training(tmp_path / "run", config)
    saved = save_trained(tmp_path / "run", tmp_path / "trained.npz", bits=bits)
    assert saved.bytes == (tmp_path / "trained.npz").stat().st_size
    assert saved.origin == f"step 4 (newest) of {tmp_path / 'run'}"
    with np.load(tmp_path / "trained.npz") as archive:
        names = set(archive.files)
    assert not [name for name in names if "params/backbone/conv1_" in name or "params/backbone/norm2" in name]
    assert "params/backbone/conv3_1/kernel" in names
    fresh = random_variables(config, seed=7)
    started = start_from(fresh, tmp_path / "trained.npz", config=config)
    assert jax.tree.structure(started) == jax.tree.structure(fresh)
    expected = as_float16(variables)["params"]
    for layer in ("conv3_1", "conv5_2"):
        kernel, wanted = started["params"]["backbone"][layer]["kernel"], expected["backbone"][layer]["kernel"]
        np.testing.assert_allclose(kernel, wanted, rtol=0, atol=0 if bits == 16 else np.max(wanted) / 250)
    assert_equal(started["params"]["backbone"]["conv1_1"], fresh["params"]["backbone"]["conv1_1"])
    assert_equal(started["params"]["soft_head"], expected["soft_head"])

    config.model.width = 4
    with pytest.raises(UserError, match="another network"):
        start_from(random_variables(config), tmp_path / "trained.npz", config=config)


def test_a_training_starts_from_another_work_directory(tmp_path, config):
    variables = made_up_training(tmp_path / "run", config)
    started = start_from(random_variables(config, seed=7), tmp_path / "run", config=config)
    assert_equal(started, variables)
    with pytest.raises(UserError, match=r"config\.train\.start_from: There is no model"):
        start_from({}, tmp_path / "nothing", config=config)


@pytest.mark.slow
def test_the_trained_part_colours_with_the_published_encoder(tmp_path):
    config = small_config()
    config.model.update(dict(encoder="vgg16", pretrained=True, frozen_blocks=4, width=4))
    config.inference.update(dict(branch="both", side=48, share=0.25))
    published = imagenet_vgg16_params()
    variables = made_up_training(
        tmp_path / "run", config, backbone={name: published[name] for name in published if name < "conv5"}
    )
    save_trained(tmp_path / "run", tmp_path / "trained.npz")
    _, loaded = load_trained(tmp_path / "trained.npz")
    for layer in ("conv1_1", "conv4_3"):  # frozen: the published weights, not rounded
        assert_equal(loaded["params"]["backbone"][layer], dict(published[layer]))
    expected = as_float16(variables)["params"]
    assert_equal(loaded["params"]["backbone"]["conv5_3"], expected["backbone"]["conv5_3"])
    assert_equal(loaded["params"]["reg_head"], expected["reg_head"])
    colorizer = semcolor_jax.load(tmp_path / "trained.npz")
    assert (colorizer.side, colorizer.choice) == (48, ColorChoice("both", share=0.25))
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    assert colorizer(photo).rgb.shape == photo.shape


def test_frozen_random_weights_make_no_model(tmp_path, config):
    made_up_training(tmp_path / "run", config)
    save_trained(tmp_path / "run", tmp_path / "trained.npz")
    with pytest.raises(UserError, match=r"trained\.npz lacks .*frozen but not published"):
        semcolor_jax.load(tmp_path / "trained.npz")


def test_what_is_no_model_is_named(tmp_path, config):
    with pytest.raises(UserError, match="no model 'semcolor-v0'"):
        find_model("semcolor-v0")
    (tmp_path / "bad.npz").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"bad\.npz is not a file of trained weights"):
        start_from({}, tmp_path / "bad.npz", config=config)
