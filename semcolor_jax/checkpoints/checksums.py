"""Keeps a manifest of a folder's files with sizes and SHA-256, to find damage before the weights are used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from semcolor_jax.files import write_text

MANIFEST = "manifest.json"

_UNLISTED = (MANIFEST, "README.md", "_CHECKPOINT_METADATA")  # orbax still writes the last one while it commits


class DamagedError(Exception):
    """A folder differs from its manifest; the message names the file and what is wrong with it."""


def write_manifest(folder: Path, **facts: Any) -> None:
    """Writes FOLDER/manifest.json: `facts`, and the bytes and SHA-256 of every file in the folder."""
    files = {path.relative_to(folder).as_posix(): _entry(path) for path in _files(folder)}
    write_text(folder / MANIFEST, json.dumps({**facts, "files": files}, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns what `write_manifest` wrote; None if the folder has none, as in earlier versions.

    Raises:
      DamagedError: it cannot be read.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return {**manifest, "files": dict(manifest["files"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{MANIFEST} cannot be read ({error})") from error


def verify(folder: Path) -> dict[str, Any] | None:
    """Checks every file against the folder's manifest and returns the manifest; None if the folder has none.

    Raises:
      DamagedError: a file is missing, or has another size or checksum.
    """
    manifest = read_manifest(folder)
    for name, entry in (manifest or {"files": {}})["files"].items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{name} is missing")
        if path.stat().st_size != entry["bytes"]:
            raise DamagedError(f"{name} has {path.stat().st_size:,} bytes instead of {entry['bytes']:,}")
        if _sha256(path) != entry["sha256"]:
            raise DamagedError(f"{name} does not have its checksum")
    return manifest


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _UNLISTED)


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
