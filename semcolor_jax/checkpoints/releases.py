"""Weights without the training around them: the released form.

A released model is a folder: `config.json` and `weights/` (orbax, 16 bits). `inference.restore` takes such a folder
wherever it takes a work directory.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from semcolor_jax.checkpoints.configs import load_config, portable, save_config
from semcolor_jax.checkpoints.training_runs import read_arrays, restore_variables
from semcolor_jax.errors import UserError

Variables = dict[str, Any]


def export_release(workdir: Path, output: Path) -> None:
    """Writes the newest weights of a work directory as a released model, in float16.

    Args:
      workdir: of a training; its averaged weights are taken where it kept them.
      output: the folder to make.

    Raises:
      UserError: `workdir` has no checkpoint; `output` exists, or cannot be written.
    """
    if output.exists():
        raise UserError(f"{output} exists already: remove it, or name another folder.")
    save_release(restore_variables(workdir), output, config=portable(load_config(workdir)))


def save_release(variables: Variables, output: Path, *, config: ConfigDict) -> None:
    """Writes a network's variables, in float16, and its config as a released model.

    Raises:
      UserError: `output` cannot be written.
    """
    with _making_folder(output) as temporary:
        save_config(temporary, config)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((temporary / "weights").absolute(), _to_float16(variables))
        # Orbax's note of success names the temporary folder; here the renaming of the whole is what says it.
        (temporary / "weights" / "commit_success.txt").unlink(missing_ok=True)


def load_release(folder: Path) -> Variables:
    """Returns the variables of a released model, float32, on the default device.

    Raises:
      UserError: the folder's weights cannot be read.
    """
    path = (folder / "weights").absolute()
    try:
        restored = read_arrays(path, names=("params", "batch_stats"))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"The weights in {path} cannot be read: {error}.") from error
    # To the device one by one: the network never exists twice in 32 bits.
    variables = jax.tree.map(lambda array: jax.device_put(np.asarray(array, np.float32)), restored)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats") or {}}


@contextlib.contextmanager
def _making_folder(output: Path) -> Iterator[Path]:
    """Yields a temporary folder that gets its name when the block succeeds, and else vanishes."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's is for the user alone
        temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _to_float16(variables: Variables) -> Variables:
    return jax.tree.map(lambda array: np.asarray(array, np.float16), variables)
