"""Sanitises file names from clients: for display and archives, never for opening a file."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

_LONGEST = 120
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names on Windows
_FORBIDDEN = re.compile(r'[<>:"|?*]')


def safe_name(text: str | None, *, fallback: str = "photo") -> str:
    """Returns a plain file name: no folders, control characters, leading dots, or anything that some system forbids."""
    name = (text or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c)[0] != "C")
    name = _FORBIDDEN.sub("_", name).strip(" .")
    if not name or _RESERVED.fullmatch(name):
        name = f"{fallback}{'_' + name if name else ''}"
    path = PurePosixPath(name)
    suffix = path.suffix[:16]
    return name if len(name) <= _LONGEST else path.stem[: _LONGEST - len(suffix)].rstrip(" .") + suffix


def with_suffix(name: str, suffixes: tuple[str, ...]) -> str:
    """Returns the name with a suffix of a format: its own if valid, else the first."""
    path = PurePosixPath(name)
    if path.suffix.lower() in suffixes:
        return name
    known = len(path.suffix) in range(2, 7) and path.suffix[1:].isalnum()
    return (path.stem if known else name) + suffixes[0]


def distinct(name: str, taken: set[str]) -> str:
    """Returns the name, or `name (2)` and so on, and adds it to those taken, ignoring case."""
    path, candidate, number = PurePosixPath(name), name, 2
    while candidate.lower() in taken:
        candidate = f"{path.stem} ({number}){path.suffix}"
        number += 1
    taken.add(candidate.lower())
    return candidate


def disposition(name: str) -> str:
    """Returns the header `Content-Disposition` that makes a browser save a file under this name (RFC 6266)."""
    plain = re.sub(r"[^\w. ()-]", "_", name, flags=re.ASCII)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
