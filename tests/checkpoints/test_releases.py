"""Released weights and the trained part as a file: what goes in comes out, to float16."""

import jax
import numpy as np
import pytest

import semcolor_jax
from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.checkpoints.releases import export_release
from semcolor_jax.checkpoints.trained_part import load_trained, save_trained, start_from
from semcolor_jax.checkpoints.training_runs import restore_variables
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.restore import DEFAULT_MODEL, find_model, load_predictor
from semcolor_jax.models import imagenet_vgg16_params
from semcolor_jax.training import loop


@pytest.fixture
def trained(tmp_path, tiny_config, memory_data):
    tiny_config.model.frozen_blocks = 2
    tiny_config.schedule.stage1_epochs, tiny_config.schedule.stage2_epochs = 1.0, 0.0
    loop.train(tiny_config, tmp_path / "run")
    return tmp_path / "run"


def as_float16(tree):
    return jax.tree.map(lambda array: np.asarray(np.asarray(array, np.float16), np.float32), tree)


@pytest.mark.slow
def test_a_released_model_predicts_as_the_work_directory_does(trained, tmp_path, memory_data):
    export_release(trained, tmp_path / "released")
    released, original = load_predictor(tmp_path / "released"), restore_variables(trained)
    jax.tree.map(
        np.testing.assert_array_equal, jax.device_get(released.variables["params"]), as_float16(original["params"])
    )
    photo = memory_data["val"].read(0).image
    assert semcolor_jax.load(tmp_path / "released")(photo).rgb.shape == photo.shape
    with pytest.raises(UserError, match="exists already"):
        export_release(trained, tmp_path / "released")
    for file in (path for path in (tmp_path / "released").rglob("*") if path.is_file()):
        assert str(trained.parent).encode() not in file.read_bytes(), f"{file} names a folder of this machine"


@pytest.mark.slow
def test_a_training_starts_from_the_trained_part_and_the_rest_is_initialised(trained, tmp_path, tiny_config):
    size = save_trained(trained, tmp_path / "trained.npz")
    assert size == (tmp_path / "trained.npz").stat().st_size
    with np.load(tmp_path / "trained.npz") as archive:
        assert not [
            name for name in archive.files if "params/backbone/conv1_" in name or "params/backbone/norm2" in name
        ]
        assert "params/backbone/conv3_1/kernel" in archive.files
    fresh = init_variables(build_model(tiny_config), jax.random.key(7, impl="rbg"), config=tiny_config)
    started = start_from(fresh, tmp_path / "trained.npz", config=tiny_config)
    assert jax.tree.structure(started) == jax.tree.structure(fresh)
    expected = as_float16(restore_variables(trained))["params"]
    for layer in ("conv3_1", "conv5_2"):
        np.testing.assert_array_equal(
            started["params"]["backbone"][layer]["kernel"], expected["backbone"][layer]["kernel"]
        )
    np.testing.assert_array_equal(
        started["params"]["backbone"]["conv1_1"]["kernel"], fresh["params"]["backbone"]["conv1_1"]["kernel"]
    )
    np.testing.assert_array_equal(started["params"]["soft_head"]["bias"], expected["soft_head"]["bias"])

    assert save_trained(trained, tmp_path / "small.npz", bits=8) <= size
    again = start_from(fresh, tmp_path / "small.npz", config=tiny_config)
    assert jax.tree.structure(again) == jax.tree.structure(fresh)

    tiny_config.model.width = 8
    wider = init_variables(build_model(tiny_config), jax.random.key(7, impl="rbg"), config=tiny_config)
    with pytest.raises(UserError, match="another network"):
        start_from(wider, tmp_path / "trained.npz", config=tiny_config)


@pytest.mark.slow
def test_the_trained_part_colours_with_the_published_encoder(tmp_path, tiny_config, memory_data):
    tiny_config.model.update(dict(encoder="vgg16", pretrained=True, frozen_blocks=4, width=4))
    tiny_config.train.ema_decay = 0.5
    tiny_config.inference.update(dict(branch="both", side=48, share=0.25))
    tiny_config.schedule.stage1_epochs, tiny_config.schedule.stage2_epochs = 1.0, 0.0
    loop.train(tiny_config, tmp_path / "run")
    save_trained(tmp_path / "run", tmp_path / "trained.npz")
    config, variables = load_trained(tmp_path / "trained.npz")
    expected = as_float16(restore_variables(tmp_path / "run"))["params"]
    for layer in ("conv1_1", "conv4_3"):  # frozen: the published weights, not rounded
        np.testing.assert_array_equal(
            variables["params"]["backbone"][layer]["kernel"], imagenet_vgg16_params()[layer]["kernel"]
        )
    jax.tree.map(
        np.testing.assert_array_equal, variables["params"]["backbone"]["conv5_3"], expected["backbone"]["conv5_3"]
    )
    jax.tree.map(np.testing.assert_array_equal, variables["params"]["reg_head"], expected["reg_head"])
    assert (config.data.mix, config.data.dir) == ("", "")
    colorizer = semcolor_jax.load(tmp_path / "trained.npz")
    assert (colorizer.side, colorizer.choice) == (48, ColorChoice("both", share=0.25))
    photo = memory_data["val"].read(0).image
    assert colorizer(photo).rgb.shape == photo.shape


@pytest.mark.slow
def test_frozen_random_weights_make_no_model(trained, tmp_path):
    save_trained(trained, tmp_path / "trained.npz")
    with pytest.raises(UserError, match=r"trained\.npz lacks .*frozen but not published"):
        semcolor_jax.load(tmp_path / "trained.npz")


def test_the_default_model_is_there():
    assert find_model(DEFAULT_MODEL).exists()


def test_what_is_no_model_is_named(tmp_path, tiny_config):
    with pytest.raises(UserError, match="no model 'semcolor-v0'"):
        find_model("semcolor-v0")
    (tmp_path / "bad.npz").write_bytes(b"PK not really")
    with pytest.raises(UserError, match=r"bad\.npz is not a file of trained weights"):
        start_from({}, tmp_path / "bad.npz", config=tiny_config)
