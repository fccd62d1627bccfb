"""Reads single files from a zip or tar in place, from several threads; nothing is unpacked.

`fsspec`'s tar filesystem is no substitute: its reads share one file position, so threads get each other's bytes, and
each read searches all members for the name (15 ms instead of 0.2 among the 50,000 of ImageNet's validation tar).
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Protocol

from PIL import Image, ImageFile

from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import list_images

LARGEST = 256 * 2**20
"""Most bytes of a file in an archive: far above any photo, since a zip of a few kilobytes may unpack to gigabytes."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, RuntimeError, OSError)


class Archive(Protocol):
    """The files of a zip, tar or folder; several threads may read them at once."""

    @property
    def path(self) -> Path:
        """The archive itself."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """The files' paths inside the archive, with forward slashes."""
        ...

    def read(self, name: str) -> bytes:
        """Returns a file's content. Raises `UserError` naming archive and file if it is damaged, or above `LARGEST`."""
        ...


def open_archive(path: str | os.PathLike[str], *, wanted: Collection[str] = ()) -> Archive:
    """Opens a zip, an uncompressed tar or a folder of images.

    Args:
      path: of the archive.
      wanted: names, without folders; the search of a tar, which has no table of contents, stops once all are found.

    Raises:
      UserError: if `path` does not exist, is none of the three, or is damaged or truncated.
    """
    path = Path(path)
    if path.is_dir():
        return _Folder(path)
    try:
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
    except OSError as error:
        raise UserError(f"there is no file {path}, or it may not be read ({error.strerror}).") from error
    try:
        return _Zip(path) if is_zip else _Tar(path, frozenset(wanted))
    except _DAMAGE as error:
        kind = "zip" if is_zip else "zip or tar"
        raise UserError(f"{path} is not a whole {kind} file ({error}): delete it and download it again.") from error


def open_image_in(archive: Archive, name: str) -> ImageFile.ImageFile:
    """Opens an image in an archive and decodes its header only. Raises `UserError` naming archive and file."""
    content = archive.read(name)
    try:
        return Image.open(io.BytesIO(content))
    except Exception as error:  # decoders raise exceptions of every kind on broken bytes
        raise UserError(f"{archive.path}: {name} is not an image that can be read, or is damaged.") from error


class _Folder:
    def __init__(self, path: Path):
        self.path = path
        self.names = frozenset(file.relative_to(path).as_posix() for file in list_images(path))

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {self.path / name}: {error.strerror}.") from error


class _Zip:
    def __init__(self, path: Path):
        self.path = path
        self._zip = zipfile.ZipFile(path)
        self.names = frozenset(info.filename for info in self._zip.infolist() if not info.is_dir())
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes:
        _check_size(self.path, name, self._zip.getinfo(name).file_size)  # zipfile unpacks no more than this
        try:
            with self._lock:
                return self._zip.read(name)  # compares the checksum, too
        except _DAMAGE as error:
            raise _damaged(self.path, name, error) from error


class _Tar:
    def __init__(self, path: Path, wanted: frozenset[str]):
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        missing = set(wanted)
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile():
                    self._places[member.name] = (member.offset_data, member.size)
                    missing.discard(PurePosixPath(member.name).name)
                if wanted and not missing:
                    break
        self.names = frozenset(self._places)

    def read(self, name: str) -> bytes:
        offset, size = self._places[name]
        _check_size(self.path, name, size)
        with open(self.path, "rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise _damaged(self.path, name, "the file ends too early")
        return content


def _check_size(path: Path, name: str, size: int) -> None:
    if size > LARGEST:
        raise UserError(f"{path}: {name} has {size:,} bytes, which is no photo: at most {LARGEST:,} are read.")


def _damaged(path: Path, name: str, error: object) -> UserError:
    return UserError(f"{path} is damaged at {name} ({error}): delete it and download it again.")
