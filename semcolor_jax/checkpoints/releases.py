"""Weights without the training around them: the released form, and the trained part alone as one small file.

A released model is a folder: `config.json` and `weights/` (orbax, 16 bits). `inference.restore` takes such a folder
wherever it takes a work directory. The trained part (`.npz`, 16 bits) leaves out what is frozen and so can be had from
the published weights anyway; `config.train.start_from` begins a training with it, and `load_trained` makes it whole.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from semcolor_jax.baselines.build import build_model
from semcolor_jax.checkpoints.training_runs import load_config, read_arrays, restore_variables, save_config
from semcolor_jax.config import always_frozen, default
from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.models.encoders import is_frozen
from semcolor_jax.models.layers import STRIDE
from semcolor_jax.models.vgg16 import imagenet_vgg16_params

Variables = dict[str, Any]

_CONFIG = "config"
_BACKBONE = "params/backbone/"


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
    save_release(restore_variables(workdir), output, config=_portable(load_config(workdir)))


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


def save_trained(workdir: Path, output: Path) -> int:
    """Writes the trained part of the newest weights of a work directory as one `.npz`, in float16; returns its bytes.

    Raises:
      UserError: `workdir` has no checkpoint; `output` cannot be written.
    """
    config = load_config(workdir)
    frozen = always_frozen(config)
    arrays: dict[str, Any] = flatten_dict(_to_float16(restore_variables(workdir)), sep="/")
    published = _to_float16(_published(config))
    trained = {
        name: array
        for name, array in arrays.items()
        if not _is_frozen(name, frozen_blocks=frozen) and not np.array_equal(array, published.get(name))
    }
    buffer = io.BytesIO()
    content: dict[str, Any] = {_CONFIG: np.array(json.dumps(_portable(config).to_dict())), **trained}
    np.savez_compressed(buffer, **content)
    with replacing(output) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return len(buffer.getvalue())


def start_from(variables: Variables, path: Path, *, config: ConfigDict) -> Variables:
    """Returns freshly initialised variables with those in place that `save_trained` wrote.

    Raises:
      UserError: the file cannot be read, belongs to another network, or has arrays that this one lacks.
    """
    try:
        saved, stored = _read_trained(path)
    except UserError as error:
        raise UserError(f"config.train.start_from: {error}") from error
    arrays = flatten_dict(variables, sep="/", keep_empty_nodes=True)
    unknown = [name for name, array in stored.items() if np.shape(arrays.get(name)) != array.shape]
    if unknown:
        raise UserError(
            f"config.train.start_from: {path} belongs to another network, {saved.model.to_dict()}, than this config's, "
            f"{config.model.to_dict()}: {unknown[0]} does not fit."
        )
    return unflatten_dict(arrays | {name: array.astype(np.float32) for name, array in stored.items()}, sep="/")


def load_trained(path: Path) -> tuple[ConfigDict, Variables]:
    """Returns the config, and all variables in float32: those that `save_trained` wrote and the published encoder's.

    Raises:
      UserError: the file cannot be read, or its network needs more than these.
    """
    config, stored = _read_trained(path)
    arrays = {name: np.asarray(array, np.float32) for name, array in (_published(config) | stored).items()}
    model = build_model(config)
    shape = (1, STRIDE, STRIDE, 1)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(shape), train=False))
    wanted: dict[str, Any] = flatten_dict(variables, sep="/")
    missing = [name for name, array in wanted.items() if np.shape(arrays.get(name)) != array.shape]
    if missing:
        raise UserError(
            f"{path} lacks {missing[0]}, which is frozen but not published: "
            "it can only serve as config.train.start_from."
        )
    variables = unflatten_dict(arrays, sep="/")
    return config, {"params": variables["params"], "batch_stats": variables.get("batch_stats") or {}}


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


def _read_trained(path: Path) -> tuple[ConfigDict, dict[str, np.ndarray]]:
    """Returns the config and the arrays by name of a file that `save_trained` wrote."""
    config = default()
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
        config.update(json.loads(str(stored.pop(_CONFIG))))
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a file of trained weights: {error}.") from error
    return config, stored


def _portable(config: ConfigDict) -> ConfigDict:
    """Returns the config without the folders of the machine it was trained on."""
    portable = config.copy_and_resolve_references()
    portable.data.dir, portable.data.mix, portable.data.prior, portable.data.source = "", "", "", "embedded"
    portable.train.start_from = ""
    return portable


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


def _published(config: ConfigDict) -> Variables:
    """Returns the weights that the encoder began with, and which blocks that have not thawed yet still have."""
    if not (config.model.encoder == "vgg16" and config.model.pretrained):
        return {}
    return flatten_dict({"params": {"backbone": imagenet_vgg16_params()}}, sep="/")


def _is_frozen(name: str, *, frozen_blocks: int) -> bool:
    layer = name.removeprefix(_BACKBONE).partition("/")[0]
    return name.startswith(_BACKBONE) and is_frozen(layer, frozen_blocks=frozen_blocks)
