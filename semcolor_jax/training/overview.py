"""The parameters of a network as a table."""

from __future__ import annotations

from typing import Any

import jax
from flax.traverse_util import flatten_dict


def count_parameters(params: Any) -> int:
    """Returns how many numbers a tree of arrays holds."""
    return sum(array.size for array in jax.tree.leaves(params))


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
