"""Scans images a few rows at a time, for intermediates that would not fit in memory for all pixels at once.

It pays on a CPU, where a few rows stay in the cache. Programs for accelerators take whole images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float


def scan_rows(function: Callable, carry: Any, arrays: tuple[Array, ...], *, pixels: int) -> tuple[Any, Any]:
    """`lax.scan` of `function` over chunks of rows of arrays (B, H, W, ...), each (1, rows, W, ...).

    Args:
      function: (carry, chunks) -> (carry, result of the chunks).
      carry: what the first call gets.
      arrays: all with the same B, H and W.
      pixels: the most that a chunk may have, unless one row has more.

    Returns:
      the last carry, and the results with a leading axis; `join_rows` joins them again.
    """
    batch, height, width = arrays[0].shape[:3]
    rows = rows_per_chunk(height, row_pixels=width, pixels=pixels)
    # Rows of one image: no copy of the arrays is needed.
    chunks = jax.tree.map(lambda a: a.reshape(batch * (height // rows), 1, rows, *a.shape[2:]), arrays)
    return jax.lax.scan(function, carry, chunks)


def join_rows(chunks: Float[Array, "n 1 r w c"], *, batch: int) -> Float[Array, "batch h w c"]:
    """Joins chunks of rows into images."""
    return chunks.reshape(batch, -1, *chunks.shape[3:])


def rows_per_chunk(height: int, *, row_pixels: int, pixels: int) -> int:
    """Returns the largest divisor of the height that keeps a chunk within `pixels`, or else 1."""
    fitting = [rows for rows in range(1, height + 1) if height % rows == 0 and rows * row_pixels <= pixels]
    return max(fitting, default=1)
