"""Caches computed values on disk, so that a stopped run resumes.

One line of JSON per photo and measure. A line's key is a digest of everything the values depend on: both files (path,
length, modification time), the protocol and the measure with its weights. If any changes, the line no longer applies.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

from semcolor_jax.errors import UserError

Values: TypeAlias = dict[str, Any]
"""A measure's values for one photo: numbers by name, None where undefined."""


class ResultCache:
    """Values by key, in memory and in a file that grows; close it, or use it in a `with`.

    Raises:
      UserError: on creation, if the file cannot be read or written.
    """

    def __init__(self, path: Path):
        self._values: dict[str, Values] = {}
        self._file: IO[str]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._read(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}.") from error

    def _read(self, path: Path) -> None:
        with path.open("rb+") as file:
            whole = 0
            for line in file:
                if not line.endswith(b"\n"):  # the run was killed while writing
                    break
                whole += len(line)
                try:
                    record = json.loads(line)
                    self._values[record["key"]] = record["values"]
                except (ValueError, KeyError, TypeError):
                    continue  # it is computed again
            file.truncate(whole)

    def __enter__(self) -> ResultCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> Values | None:
        """Returns the values of a key, or None."""
        return self._values.get(key)

    def add(self, entries: Sequence[tuple[str, Values]]) -> None:
        """Stores values and writes them to disk before returning."""
        for key, values in entries:
            self._values[key] = values
            self._file.write(json.dumps({"key": key, "values": values}) + "\n")
        self._file.flush()


def file_identity(path: Path) -> tuple[str, int, int]:
    """Returns a file's absolute path, length and modification time; zeros if they cannot be read."""
    try:
        stat = os.stat(path)
    except OSError:
        return os.path.abspath(path), 0, 0
    return os.path.abspath(path), stat.st_size, stat.st_mtime_ns


def key_of(*parts: Any) -> str:
    """Returns a digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
