"""The command lines as a user meets them: exit codes and the one sentence on stderr, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def run(*arguments, cwd=ROOT):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_sentence(result, *words):
    """Exit code 2, the last line of stderr starts with "error:", no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    sentence = result.stderr.strip().splitlines()[-1]
    assert sentence.startswith("error: ")
    for word in words:
        assert word in sentence, sentence


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.data.sorce=folder", ("'data.sorce'", "did you mean 'data.source'", "batch_size")),
        ("--config.dta.source=folder", ("'dta.source'", "data.source")),
        ("--config.loss.sample_places=0", ("'loss.sample_places'", "larsson2016", "--config larsson2016")),
        ("--config.data.batch_size=many", ("batch_size", "many")),
        ("--config.model.encoder=resnet", ("config.model.encoder", "vgg_like, vgg16")),
    ],
)
def test_a_mistyped_field_or_value_lists_what_exists(tmp_path, override, words):
    result = run("launch.py", "--config", "configs/full.py", "--workdir", tmp_path / "w", override)
    assert_one_sentence(result, *words)
    assert not (tmp_path / "w").exists()


def test_a_missing_config_file_lists_the_configs(tmp_path):
    assert_one_sentence(
        run("launch.py", "--config", "configs/ful.py", "--workdir", tmp_path),
        "configs/ful.py",
        "full, ",
    )


def test_an_unknown_config_option_says_what_exists(tmp_path):
    result = run("launch.py", "--config", "configs/full.py:nosuch", "--workdir", tmp_path)
    assert_one_sentence(result, "nosuch", "segclasregsoft")


def test_without_a_config_there_is_nothing_to_train():
    assert_one_sentence(run("launch.py"), "--config full")
    assert_one_sentence(run("-m", "semcolor_jax", "train", "--workdir", "w", "--config.seed=1"), "--config full")


def test_full_config_without_coco_stuff_says_what_to_get(tmp_path):
    result = run(
        "launch.py",
        "--config",
        "configs/full.py",
        "--workdir",
        tmp_path / "w",
        f"--config.data.dir={tmp_path}/none",
    )
    assert_one_sentence(
        result, "train2017.zip", "val2017.zip", "stuffthingmaps_trainval2017.zip", "GB", "prepare coco_stuff"
    )
    assert not (tmp_path / "w" / "checkpoints").exists()


def test_colorize_without_a_checkpoint(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "photo.png")
    result = run(
        "-m",
        "semcolor_jax",
        "colorize",
        tmp_path / "photo.png",
        "-o",
        tmp_path / "out",
        "--model",
        tmp_path / "w",
    )
    assert_one_sentence(result, "no model", "--workdir", "semcolor-v1")
    assert not (tmp_path / "out").exists()


def test_a_workdir_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("launch.py", "--config", "configs/quickstart.py", "--workdir", tmp_path / "file" / "w")
    assert_one_sentence(result, "cannot be written", "--workdir")


def test_the_package_does_not_import_jax_for_help():
    result = run("-X", "importtime", "-m", "semcolor_jax", "--help")
    assert result.returncode == 0
    assert "colorize" in result.stdout
    assert "jaxlib" not in result.stderr


def save_photo(path, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    Image.fromarray(rng.integers(0, 256, size=(*size, 3)).astype(np.uint8)).save(path)


def corrupt_jpeg(folder):
    save_photo(folder / "good.jpg")
    save_photo(folder / "broken.jpg")
    (folder / "broken.jpg").write_bytes((folder / "broken.jpg").read_bytes()[:300])


def empty_folder(folder):
    folder.mkdir()


def label_map_of_another_size(folder):
    save_photo(folder / "train" / "images" / "a.jpg")
    (folder / "train" / "labels").mkdir()
    Image.fromarray(np.zeros((20, 40), np.uint8)).save(folder / "train" / "labels" / "a.png")
    (folder / "labels.json").write_text('{"ignore": null, "classes": {"0": "person"}}')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (corrupt_jpeg, ("broken.jpg",)),
        (empty_folder, ("photos",)),
        (label_map_of_another_size, ("a.png", "40", "20")),
        (lambda folder: None, ("photos", "no")),
    ],
    ids=["corrupt jpeg", "empty folder", "label map of another size", "no folder"],
)
def test_bad_data_is_named_before_anything_is_written(tmp_path, make, words):
    make(tmp_path / "photos")
    result = run(
        "launch.py",
        "--config=configs/full.py:runlocal",
        f"--workdir={tmp_path / 'w'}",
        "--config.data.source=folder",
        f"--config.data.dir={tmp_path / 'photos'}",
    )
    assert_one_sentence(result, *words)
    assert not (tmp_path / "w").exists()


def test_colorize_refuses_a_workdir_without_a_checkpoint_left(tmp_path):
    save_photo(tmp_path / "photo.png")
    (tmp_path / "w").mkdir()
    from semcolor_jax.checkpoints.configs import save_config
    from semcolor_jax.config import default

    save_config(tmp_path / "w", default())
    result = run(
        "-m", "semcolor_jax", "colorize", tmp_path / "photo.png", "-o", tmp_path / "o", "--model", tmp_path / "w"
    )
    assert_one_sentence(result, "No checkpoint", "launch.py")
