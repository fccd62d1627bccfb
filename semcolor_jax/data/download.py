"""Downloads large files and resumes interrupted downloads."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from semcolor_jax.errors import UserError

_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_PATIENCE = 5  # consecutive connections without data
_CONNECTION_ERRORS = (OSError, http.client.HTTPException)  # URLError and timeouts are OSErrors


def download(
    url: str, path: str | os.PathLike[str], *, size: int | None = None, sha256: str | None = None, pause: float = 5.0
) -> None:
    """Downloads a file unless it already exists.

    A partial download stays in `path`.part, and the next call resumes it (HTTP Range). Only a complete, verified file
    is named `path`.

    Args:
      url: of the file.
      path: the target; its folder is created if missing.
      size: its published size in bytes; None if unknown.
      sha256: its published SHA-256, hexadecimal; None if unknown.
      pause: seconds before connecting again after a broken connection.

    Raises:
      UserError: if the server lacks the file or cannot be reached, the folder cannot be written, or the file is not the
            published one.
    """
    path = Path(path)
    if path.exists():
        return
    if not url.startswith(("https://", "http://")):
        raise UserError(f"{url} is no address to download from: it must begin with https:// or http://.")
    part = partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise UserError(f"cannot write to {path.parent}: {error.strerror or error}.") from error
    if size is not None and part.stat().st_size > size:
        os.truncate(part, 0)  # never ours
    _complete(url, part, size=size, pause=pause)
    try:
        verify(part, size=size, sha256=sha256)
    except UserError as error:
        part.unlink()
        raise UserError(f"what {url} sent is not the published file ({error}) and was deleted: try again.") from error
    os.replace(part, path)


def partial(path: Path) -> Path:
    """Returns the file with the part downloaded so far for `path`."""
    return path.with_name(path.name + ".part")


def verify(path: str | os.PathLike[str], *, size: int | None, sha256: str | None) -> None:
    """Compares a file with its published size in bytes and SHA-256, each if it is not None.

    Raises:
      UserError: with both values, if one differs.
    """
    found = Path(path).stat().st_size
    if size is not None and found != size:
        raise UserError(f"{os.fspath(path)} has {found:,} bytes, but {size:,} are published")
    if sha256 is None:
        return
    digest = hashlib.sha256()
    with open(path, "rb") as file, _progress(f"verifying {Path(path).name}", total=found) as bar:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != sha256:
        raise UserError(f"{os.fspath(path)} has the SHA-256 {digest.hexdigest()}, but {sha256} is published")


def _complete(url: str, part: Path, *, size: int | None, pause: float) -> None:
    """Reconnects until the file is complete or the server sends nothing more."""
    failures = 0
    while size is None or part.stat().st_size < size:
        before = part.stat().st_size
        try:
            if _receive(url, part):
                return
            reason = "the connection broke"
        except urllib.error.HTTPError as error:
            raise UserError(f"{url} cannot be downloaded: the server answers {error.code} {error.reason}.") from error
        except _CONNECTION_ERRORS as error:
            reason = str(getattr(error, "reason", "") or error)
        failures = 0 if part.stat().st_size > before else failures + 1
        if failures == _PATIENCE:
            done = part.stat().st_size
            raise UserError(
                f"{url} cannot be downloaded: {reason}; {done / 1e9:.2f} GB are in {part}, and the same command goes "
                "on from there."
            )
        time.sleep(pause)


def _receive(url: str, part: Path) -> bool:
    """Appends the data of one connection; returns whether the file is complete."""
    have = part.stat().st_size
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - `download` has looked at the scheme
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        os.truncate(part, 0)  # not the beginning of the server's file
        return False
    with response:
        start = re.match(rf"bytes {have}-\d+/\d+$", response.headers.get("Content-Range", ""))
        if not (response.status == http.HTTPStatus.PARTIAL_CONTENT and start):
            have = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with open(part, "r+b") as file, _progress(f"downloading {part.stem}", total=total, initial=have) as bar:
            file.truncate(have)
            file.seek(have)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        return total is None or part.stat().st_size == total


def _progress(what: str, *, total: int | None, initial: int = 0) -> tqdm:
    return tqdm(desc=what, total=total, initial=initial, unit="B", unit_scale=True, disable=(total or _CHUNK) < _CHUNK)
