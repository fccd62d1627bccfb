"""Training from folders, the embedded photos and packs must do where TensorFlow cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorflow", "tensorflow_datasets", "clu", "lpips_jax"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""

MODULES = (
    "augmentation",
    "device_cache",
    "embedded",
    "folder",
    "mix",
    "old_prints",
    "packs",
    "pipeline",
    "prior",
    "scan",
    "sources",
    "test_sets",
)

READ = """
from semcolor_jax.config import default
from semcolor_jax.data.sources import make_source
config = default()
config.data.source, config.data.mix = "mix", "embedded,folder:{folder}"
source = make_source(config, "train")
assert source.read(0).image.shape == (160, 160, 3)
assert source.read(len(source) - 1).image.shape == (10, 12, 3)
"""


def run(script, folder):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + script],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    import numpy as np
    from PIL import Image

    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (10, 12, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_the_data_modules_and_the_host_form_of_sources_need_no_tensorflow(folder):
    script = "".join(f"import semcolor_jax.data.{module}\n" for module in MODULES) + READ.format(folder=folder)
    result = run(script, folder)
    assert result.returncode == 0, result.stderr
