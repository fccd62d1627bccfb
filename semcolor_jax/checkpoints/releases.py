"""Writes and reads released models: weights and config in a folder, without optimizer state or training history.

A released model is a folder: `config.json`, the weights, and `manifest.json` with the format version and a checksum of
each file. Format 2 has the arrays of `checkpoints.compact` in `weights.npz`. Format 1 (semcolor-v1) has them in float16
in `weights/`, an orbax tree. `checkpoints.models` accepts such a folder wherever it accepts a work directory.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from semcolor_jax.checkpoints import checksums
from semcolor_jax.checkpoints.checksums import DamagedError
from semcolor_jax.checkpoints.compact import Bits, pack, unpack
from semcolor_jax.checkpoints.configs import load_config, portable, save_config
from semcolor_jax.checkpoints.ranking import BEST
from semcolor_jax.errors import UserError

Variables = dict[str, Any]

FORMAT = 2
"""The newest version that can be written and read."""

_ARRAYS, _TREE = "weights.npz", "weights"


def export_release(model: Path, output: Path, *, checkpoint: str | int = BEST, bits: Bits = 16) -> str:
    """Writes a model's weights as a released model; returns which weights, as in "step 3000 of runs/full".

    Args:
      model: work directory of a training (its averaged weights, if it kept them); or a released model, to write it with
            other bits.
      output: the folder to make.
      checkpoint: "best", "latest" or a step, see `read_checkpoint`.
      bits: per weight, see `checkpoints.compact.pack`.

    Raises:
      UserError: `model` has no such checkpoint, or is damaged; `output` exists, or cannot be written.
    """
    if output.exists():
        raise UserError(f"{output} exists already: remove it, or name another folder.")
    config = load_config(model)
    if holds_release(model):
        variables, origin = load_release(model), str(model)
    else:
        from semcolor_jax.checkpoints.training_runs import read_checkpoint

        restored = read_checkpoint(model, checkpoint=checkpoint)
        variables, origin = restored.variables, restored.origin
    save_release(variables, output, config=portable(config), bits=bits)
    return origin


def save_release(variables: Mapping[str, Any], output: Path, *, config: ConfigDict, bits: Bits = 16) -> None:
    """Writes a network's variables and its config as a released model; `bits` as in `checkpoints.compact.pack`.

    Raises:
      UserError: `output` cannot be written.
    """
    with _making_folder(output) as temporary:
        save_config(temporary, config)
        arrays: dict[str, Any] = pack(variables, bits=bits)
        np.savez_compressed(temporary / _ARRAYS, **arrays)
        checksums.write_manifest(temporary, format=FORMAT, bits=bits)


def holds_release(folder: Path) -> bool:
    """Whether the folder is a released model."""
    return (folder / _ARRAYS).is_file() or (folder / _TREE).is_dir()


def load_release(folder: Path) -> Variables:
    """Returns the variables of a released model, float32, on the default device.

    Raises:
      UserError: a file is damaged, or of a later version.
    """
    try:
        version = (checksums.verify(folder) or {"format": 1})["format"]  # the first releases had no manifest
        if version > FORMAT:
            raise UserError(f"{folder} has format {version}, and this version reads up to {FORMAT}: update semcolor.")
        arrays = _read_tree(folder / _TREE) if version == 1 else _read_arrays(folder / _ARRAYS)
    except (DamagedError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"The model in {folder} is damaged: {error}; get it anew.") from error
    # To the device one by one: the network is never in memory twice in 32 bits.
    variables = jax.tree.map(lambda array: jax.device_put(np.asarray(array, np.float32)), arrays)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats") or {}}


def _read_tree(path: Path) -> Variables:
    from semcolor_jax.checkpoints.training_runs import read_arrays

    return read_arrays(path.absolute(), names=("params", "batch_stats"))


def _read_arrays(path: Path) -> Variables:
    with np.load(path, allow_pickle=False) as archive:
        return unflatten_dict(unpack(dict(archive.items())), sep="/")


@contextlib.contextmanager
def _making_folder(output: Path) -> Iterator[Path]:
    """Yields a temporary folder that is renamed to its final name if the block succeeds, and removed otherwise."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's mode is for the user only
        temporary.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
