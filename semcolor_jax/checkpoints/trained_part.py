"""Saves the trained layers of a network as one small file; the frozen ones come from the published weights.

`checkpoints.start` starts a training from it, and `load_trained` completes it. The file is an `.npz`: "config" (JSON)
and the arrays of `checkpoints.compact` by name; each has a CRC-32, which numpy checks on reading.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from semcolor_jax.baselines.build import build_model
from semcolor_jax.checkpoints.compact import Arrays, Bits, pack, unpack
from semcolor_jax.checkpoints.configs import load_config, parse_config, portable
from semcolor_jax.checkpoints.ranking import LATEST
from semcolor_jax.config import always_frozen
from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.models.encoders import is_frozen
from semcolor_jax.models.layers import STRIDE
from semcolor_jax.models.vgg16 import imagenet_vgg16_params

Variables = dict[str, Any]

_CONFIG = "config"
_BACKBONE = "params/backbone/"


@dataclasses.dataclass(frozen=True)
class Saved:
    """What `save_trained` wrote."""

    bytes: int
    origin: str  # "step 3000 (newest) of runs/full"


def save_trained(workdir: Path, output: Path, *, checkpoint: str | int = LATEST, bits: Bits = 16) -> Saved:
    """Writes the trained part of the weights of a work directory as one `.npz`.

    Args:
      workdir: a training's; its averaged weights are taken if it kept them.
      output: the file to write.
      checkpoint: "latest", "best" or a step, see `read_checkpoint`.
      bits: per weight, see `checkpoints.compact.pack`.

    Raises:
      UserError: `workdir` has no such checkpoint; `output` cannot be written.
    """
    from semcolor_jax.checkpoints.training_runs import read_checkpoint

    config = load_config(workdir)
    frozen = always_frozen(config)
    restored = read_checkpoint(workdir, checkpoint=checkpoint)
    arrays = flatten_dict(restored.variables, sep="/")
    # Compared in float16, because the training may have started from such a file.
    halves, published = pack(arrays), pack(_published(config))
    trained = {
        name: array
        for name, array in arrays.items()
        if not _is_frozen(name, frozen_blocks=frozen) and not np.array_equal(halves[name], published.get(name))
    }
    buffer = io.BytesIO()
    content: dict[str, Any] = {_CONFIG: np.array(json.dumps(portable(config).to_dict())), **pack(trained, bits=bits)}
    np.savez_compressed(buffer, **content)
    with replacing(output) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Saved(len(buffer.getvalue()), restored.origin)


def load_trained(path: Path) -> tuple[ConfigDict, Variables]:
    """Returns the config, and all variables in float32: those of `save_trained` and the published encoder's.

    Raises:
      UserError: the file cannot be read, or its network needs more than these.
    """
    config, stored = read_trained(path)
    arrays = flatten_dict(_published(config), sep="/") | stored
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


def read_trained(path: Path) -> tuple[ConfigDict, Arrays]:
    """Returns the config and the arrays by name, float32, of a file that `save_trained` wrote.

    Raises:
      UserError: it is not such a file, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
        return parse_config(str(stored.pop(_CONFIG))), unpack(stored)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a file of trained weights: {error}.") from error


def _published(config: ConfigDict) -> Variables:
    """Returns the encoder's initial weights, which blocks that have not thawed yet still have."""
    if not (config.model.encoder == "vgg16" and config.model.pretrained):
        return {}
    return {"params": {"backbone": imagenet_vgg16_params()}}


def _is_frozen(name: str, *, frozen_blocks: int) -> bool:
    layer = name.removeprefix(_BACKBONE).partition("/")[0]
    return name.startswith(_BACKBONE) and is_frozen(layer, frozen_blocks=frozen_blocks)
