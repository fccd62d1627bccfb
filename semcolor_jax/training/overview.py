"""The parameters of a network as a table."""

from __future__ import annotations

import math
from typing import Any

from flax.traverse_util import flatten_dict


def count_parameters(params: Any) -> int:
    """Returns how many numbers a tree of arrays holds."""
    return sum(math.prod(array.shape) for array in flatten_dict(params).values())


def parameter_overview(params: Any) -> str:
    """Returns a table with name, shape, type and size of every array of a tree of dicts, and the total."""
    rows = [("name", "shape", "type", "size")]
    for name, array in flatten_dict(params, sep="/").items():
        shape = " x ".join(map(str, array.shape)) or "scalar"
        rows.append((name, shape, str(array.dtype), f"{math.prod(array.shape):,}"))
    name, shape, dtype, size = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [f"{row[0]:{name}}  {row[1]:{shape}}  {row[2]:{dtype}}  {row[3]:>{size}}" for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], f"total: {count_parameters(params):,}", ""])
