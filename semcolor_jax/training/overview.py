"""Tabulates a network's parameters, and checks the disk space for its checkpoints."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)


def count_parameters(params: Any) -> int:
    """Returns how many numbers a tree of arrays holds."""
    return sum(array.size for array in jax.tree.leaves(params))


def check_disk(state: Any, folder: Path, *, checkpoints: int) -> None:
    """Logs how much disk space a run's checkpoints may take.

    Raises:
      UserError: less is free.
    """
    needed, free = checkpoints * sum(array.nbytes for array in jax.tree.leaves(state)), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"The checkpoints of {folder} take up to {needed / 1e6:.0f} MB, and only {free / 1e6:.0f} MB are free: "
            "make room, or name another --workdir."
        )
    logger.info("checkpoints: up to %.0f MB on disk, %.0f MB are free", needed / 1e6, free / 1e6)


def parameter_overview(params: Any) -> str:
    """Returns a table with name, shape, type and size of every array of a tree of dicts, and the total."""
    rows = [("name", "shape", "type", "size")]
    arrays: dict[str, Any] = flatten_dict(params, sep="/")
    for name, array in arrays.items():
        shape = " x ".join(map(str, array.shape)) or "scalar"
        rows.append((name, shape, str(array.dtype), f"{array.size:,}"))
    name, shape, dtype, size = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{row[0]:{name}}  {row[1]:{shape}}  {row[2]:{dtype}}  {row[3]:>{size}}" for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], f"total: {count_parameters(params):,}", ""])
