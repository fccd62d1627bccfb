"""Writes files atomically: readers never see a partial file."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semcolor_jax.errors import UserError

_PREFIX = ".semcolor-"  # of temporary names; the number of the process and a random one follow
_LONGEST_SUFFIX = 16


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, and renames it to `path` when the block succeeds.

    The temporary name is short, so that it fits where `path` does, and keeps the suffix, which image writers go by. No
    temporary file stays behind, unless the process is killed; `remove_leftovers` finds those.

    Raises:
      UserError: if the folder is missing or cannot be written.
    """
    path = Path(path)
    suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}{suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):  # gone after the rename; otherwise a failure here does not matter
            temporary.unlink()


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Deletes the temporary files that killed processes of this machine have left in a folder."""
    for path in Path(folder).glob(f"{_PREFIX}*-*"):
        number = path.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not _is_running(int(number)):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_running(process: int) -> bool:
    if os.name == "nt":  # signal 0 would end it there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file, atomically. Raises `UserError` if the folder cannot be written or the disk is full."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, atomically. Raises `UserError` if the folder cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as JSON, atomically. Raises `UserError` if the folder cannot be written."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Returns the value in a JSON file. Raises `UserError` if it is missing, unreadable or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}.") from error
