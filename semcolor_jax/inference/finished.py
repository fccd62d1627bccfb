"""Records which photos of an output folder are finished, so that a second run colours only the rest."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from semcolor_jax.checkpoints.models import is_release

NAME = ".semcolor-finished.jsonl"
"""The file in the output folder: one line per written photo; the last one for a photo counts."""


class Finished:
    """The record of one output folder.

    A photo is finished if its output has the recorded size, and was made from the same input (size and modification
    time) with the same settings. Lines are appended, so a killed run loses none; a half-written line is ignored.
    """

    def __init__(self, folder: Path, settings: Any, *, overwrite: bool = False):
        """Reads the record.

        Args:
          folder: the output folder; need not exist yet.
          settings: everything that affects a result, as JSON.
          overwrite: treat no photo as finished, but record what is done.
        """
        self._folder, self._path = folder, folder / NAME
        text = json.dumps(settings, sort_keys=True, default=str)
        self._settings = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._entries = {} if overwrite else dict(_read(self._path))

    def state(self, source: Path, target: Path) -> str:
        """Returns "finished", "other options" (done, but with other settings), or "new"."""
        entry = self._entries.get(self._key(target))
        try:
            written, read = target.stat(), source.stat()
        except OSError:
            return "new"
        if entry is None or entry.get("bytes") != written.st_size:
            return "new"
        if entry.get("source") != [read.st_size, read.st_mtime_ns]:
            return "new"
        return "finished" if entry.get("settings") == self._settings else "other options"

    def add(self, source: Path, target: Path) -> None:
        """Records a photo that has just been written; does nothing if the record cannot be written."""
        read = source.stat()
        entry = {
            "photo": self._key(target),
            "bytes": target.stat().st_size,
            "source": [read.st_size, read.st_mtime_ns],
            "settings": self._settings,
        }
        self._entries[entry["photo"]] = entry
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError:
            return

    def _key(self, target: Path) -> str:
        return Path(os.path.relpath(target, self._folder)).as_posix()


def fingerprint(model: Path) -> str:
    """Returns what identifies a model: for a released one, the contents of its files.

    For a training it is their sizes and times, because checkpoints are large.
    """
    digest = hashlib.sha256()
    released = is_release(model)
    files = [model] if model.is_file() else sorted(path for path in model.rglob("*") if path.is_file())
    for file in files:
        status = file.stat()
        digest.update(file.name.encode())
        digest.update(file.read_bytes() if released else f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    entries = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
            entries.append((entry["photo"], entry))
        except (ValueError, KeyError, TypeError):  # a line cut off when a process ended
            continue
    return entries
