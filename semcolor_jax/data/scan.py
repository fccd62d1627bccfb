"""Checks every photo and label map before training, so that no run fails hours later on a bad file.

Results for unchanged files (same path, size and modification time) come from a cache in the user's cache folder,
`$XDG_CACHE_HOME/semcolor_jax` or `~/.cache/semcolor_jax`. A cache that cannot be read or written is no error: the files
are checked again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import ImageFile
from tqdm import tqdm

from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, write_json
from semcolor_jax.photos.files import load_pixels, open_image, orientation, read_photo

GREY_SPREAD = 8
"""Channels that differ by no more than this are equal up to JPEG's errors on a grey picture."""

GREY_SHARE = 0.001
"""A photo is grey if fewer than this share of its pixels differ by more."""

_REPORT_FROM = 2000  # files; fewer take seconds
_CACHE_VERSION = 4


@dataclasses.dataclass(frozen=True)
class PhotoFacts:
    """What is kept of a photo: its size as shown, whether it is grey, and whether EXIF rotates or mirrors it."""

    height: int
    width: int
    grey: bool
    turned: bool


@dataclasses.dataclass(frozen=True)
class LabelFacts:
    """What is kept of a label map: its size, and the ids in it."""

    height: int
    width: int
    ids: list[int]


@dataclasses.dataclass(frozen=True)
class DecoderFacts:
    """Whether another decoder gives the same pixels."""

    alike: bool


_Facts = TypeVar("_Facts", PhotoFacts, LabelFacts, DecoderFacts)


@dataclasses.dataclass(frozen=True)
class _Kind(Generic[_Facts]):
    name: str
    facts: type[_Facts]
    look: Callable[[Path], _Facts]


def scan_photos(paths: Sequence[Path], *, root: Path) -> list[PhotoFacts]:
    """Decodes each photo in full; `root` names the cache. Raises `UserError` naming the first damaged one."""
    return _scan(paths, _Kind("photos", PhotoFacts, _look_at_photo), root)


def scan_labels(paths: Sequence[Path], *, root: Path) -> list[LabelFacts]:
    """Decodes each label map in full; `root` names the cache. Raises `UserError` as `read_label_ids` does."""
    return _scan(paths, _Kind("labels", LabelFacts, _look_at_labels), root)


def read_label_ids(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w"]:
    """Reads the ids of a label map.

    Raises:
      UserError: if the file is missing, damaged, or not a PNG with 8-bit grey values or a palette's indices.
    """
    with open_image(path) as image:
        if image.format != "PNG" or not (image.mode == "P" or _raw_mode(image) == "L"):
            found = f"{image.format} {_raw_mode(image)}"
            raise UserError(f"{path} is no label map: a PNG with one 8-bit id per pixel is wanted, not {found}.")
        load_pixels(image, path)
        return np.array(image)  # of a palette image: the indices, not the colours


def is_grey(image: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Says whether all channels are nearly equal, so that there is no colour to learn."""
    spread = image.max(axis=-1) - image.min(axis=-1)
    return bool(np.mean(spread > GREY_SPREAD) < GREY_SHARE)


def decodes_alike(paths: Sequence[Path], decoder: Callable[[Path], np.ndarray], *, kind: str, root: Path) -> list[bool]:
    """Returns for each file, of the kind "photos" or "labels", whether another decoder gives the same pixels as ours.

    Every file is tried, because rotated, transparent, CMYK, 16-bit and slightly damaged ones each differ in their own
    way; results are cached. A decoder that raises `ValueError` for a file counts as different.
    """
    own = read_photo if kind == "photos" else read_label_ids

    def look(path: Path) -> DecoderFacts:
        with contextlib.suppress(ValueError):
            return DecoderFacts(alike=np.array_equal(decoder(path), own(path)))
        return DecoderFacts(alike=False)

    return [facts.alike for facts in _scan(paths, _Kind(f"{kind}-decoder", DecoderFacts, look), root)]


def _look_at_photo(path: Path) -> PhotoFacts:
    pixels = read_photo(path)
    with open_image(path) as image:
        turned = orientation(image) != 1
    return PhotoFacts(height=pixels.shape[0], width=pixels.shape[1], grey=is_grey(pixels), turned=turned)


def _look_at_labels(path: Path) -> LabelFacts:
    ids = read_label_ids(path)
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()
    return LabelFacts(height=ids.shape[0], width=ids.shape[1], ids=present)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Returns how pixels are stored in the file, e.g. "RGB;16B" where Pillow's mode is "RGB"."""
    args = image.tile[0].args if image.tile else None
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _scan(paths: Sequence[Path], kind: _Kind[_Facts], root: Path) -> list[_Facts]:
    cache_file = _cache_file(kind.name, root)
    cache = _read_cache(cache_file)
    keys = [_key(path) for path in paths]
    unknown = [(key, path) for key, path in zip(keys, paths, strict=True) if key not in cache]
    progress = tqdm(total=len(unknown), desc=f"checking {kind.name}", disable=len(unknown) < _REPORT_FROM)
    with progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(kind.look, [path for _, path in unknown])  # an error cancels the others
        for (key, _), facts in zip(unknown, found, strict=True):
            cache[key] = dataclasses.asdict(facts)
            progress.update()
    if unknown:
        _write_cache(cache_file, {key: cache[key] for key in keys})
    return [kind.facts(**cache[key]) for key in keys]


def _key(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from error
    return f"{status.st_size} {status.st_mtime_ns} {path.absolute()}"


def _cache_file(kind: str, root: Path) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    return Path(home, "semcolor_jax", f"{kind}-{digest}-v{_CACHE_VERSION}.json")


def _read_cache(path: Path) -> dict[str, dict[str, Any]]:
    try:
        cache = read_json(path)
    except UserError:
        return {}
    return cache if isinstance(cache, dict) else {}


def _write_cache(path: Path, cache: dict[str, dict[str, Any]]) -> None:
    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, cache)
