"""Keeps the finished parts of a film in a folder beside the result, so that a stopped run can resume."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.files import remove_leftovers, replacing
from semcolor_jax.inference.video.steady import Past

_RECORD = "parts.jsonl"


@dataclasses.dataclass(frozen=True)
class Part:
    """A run of finished frames.

    Attributes:
      file: the coloured frames, in the folder of the parts.
      frames: how many.
      last: time of the last one, in units of the film's time base.
      end: when that one ends, in the same units.
    """

    file: Path
    frames: int
    last: int
    end: int


class Parts:
    """The parts of one result, in `.NAME.parts` beside it.

    They belong to this source (size and modification time) and these settings, or else begin anew. A part is recorded
    once it is fully on disk; a half-written line is ignored.
    """

    def __init__(self, target: Path, source: Path, settings: Any):
        """Reads the record. Raises `UserError` if the folder cannot be made."""
        self.folder = target.with_name(f".{target.name}.parts")
        status = source.stat()
        text = json.dumps([os.fspath(source.resolve()), status.st_size, status.st_mtime_ns, settings], default=str)
        self._key = hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The output folder {target.parent} cannot be made: {error.strerror or error}.") from error
        remove_leftovers(self.folder)
        self.finished = self._read()

    @property
    def frames(self) -> int:
        """How many frames are done."""
        return sum(part.frames for part in self.finished)

    @property
    def past(self) -> Past | None:
        """The state before the next part; None at the beginning."""
        if not self.finished:
            return None
        with np.load(self.finished[-1].file.with_suffix(".npz"), allow_pickle=False) as arrays:
            return Past(arrays["lightness"], arrays["ab"], arrays["age"])

    def next_file(self) -> Path:
        """Returns where the next part is to be written."""
        return self.folder / f"{len(self.finished):06d}.nut"

    def add(self, *, frames: int, last: int, end: int, past: Past) -> None:
        """Records the part that lies in `next_file`."""
        file = self.next_file()
        with replacing(file.with_suffix(".npz")) as temporary:
            np.savez(temporary, lightness=past.lightness, ab=past.ab, age=past.age)
        entry = {"key": self._key, "file": file.name, "bytes": file.stat().st_size, "frames": frames}
        entry |= {"last": last, "end": end}
        with open(self.folder / _RECORD, "a", encoding="utf-8") as record:
            record.write(json.dumps(entry) + "\n")
        self.finished.append(Part(file, frames, last, end))

    def remove(self) -> None:
        """Deletes the folder, once the result is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> list[Part]:
        try:
            lines = (self.folder / _RECORD).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        parts: list[Part] = []
        for line in lines:
            try:
                entry = json.loads(line)
                part = Part(self.folder / entry["file"], *(int(entry[name]) for name in ("frames", "last", "end")))
                whole = part.file.stat().st_size == entry["bytes"] and part.file.with_suffix(".npz").is_file()
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if entry["key"] == self._key and whole and part.file == self.folder / f"{len(parts):06d}.nut":
                parts.append(part)
        return parts
