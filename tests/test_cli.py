"""The command lines as a user meets them: exit codes and the one sentence on stderr, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


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
        "configs/full.py",
    )


def test_an_unknown_config_option_says_what_exists(tmp_path):
    result = run("launch.py", "--config", "configs/full.py:nosuch", "--workdir", tmp_path)
    assert_one_sentence(result, "nosuch", "segclasregsoft")


def test_a_missing_workdir_flag_is_one_sentence():
    assert_one_sentence(run("launch.py", "--config", "configs/full.py"), "--workdir")


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
        "--workdir",
        tmp_path / "w",
    )
    assert_one_sentence(result, "config.json", "launch.py")
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
