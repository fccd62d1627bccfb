"""Writes the scalars of a training to a file of JSON lines, and to tensorboard where it is installed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from semcolor_jax.errors import UserError
from semcolor_jax.files import write_text

FILE = "metrics.jsonl"
"""In the work directory; each line is {"step": updates done, NAME: value, ...}."""


class ScalarWriter:
    """Appends scalars to WORKDIR/metrics.jsonl, and writes tensorboard events where clu and tensorboard are installed.

    Only the first of several hosts writes.
    """

    def __init__(self, workdir: Path, *, step: int):
        """Opens the files of a run that has done `step` updates; drops later lines, written before it was stopped.

        Raises:
          UserError: the file cannot be read or written.
        """
        self._path = workdir / FILE if jax.process_index() == 0 else None
        self._events = _tensorboard(workdir) if self._path else None
        if self._path:
            write_text(self._path, "".join(line for line in _lines(self._path) if _step(line) <= step))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of one step. Raises `UserError` if the file cannot be written."""
        if self._path is None:
            return
        row = {"step": step, **{name: float(value) for name, value in scalars.items()}}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror or error}.") from error
        if self._events:
            self._events.write_scalars(step, dict(scalars))

    def close(self) -> None:
        """Waits until all writes are finished."""
        if self._events:
            self._events.close()


def _lines(path: Path) -> list[str]:
    """Returns the complete lines: a killed process may have left half of one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    return [line for line in lines if line.endswith("\n")]


def _step(line: str) -> int:
    return int(json.loads(line)["step"])


def _tensorboard(workdir: Path) -> Any:
    """Returns clu's writer of tensorboard events, or None where it or tensorboard is not installed."""
    with contextlib.suppress(ImportError):
        from clu import metric_writers  # needs tensorboard, and itself TensorFlow

        return metric_writers.AsyncMultiWriter([metric_writers.SummaryWriter(str(workdir))])
    return None
