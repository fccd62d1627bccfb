"""Reads photos for colouring: true lightness through the file's colour profile, and the metadata to keep."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from semcolor_jax.errors import UserError
from semcolor_jax.photos import deep
from semcolor_jax.photos.damage import bearable_rows, missing_rows, truncated_images_allowed
from semcolor_jax.photos.files import UPRIGHT, orientation, pixels_of
from semcolor_jax.photos.formats import RAW_SUFFIXES, enable_heif, origin_of, readable
from semcolor_jax.photos.metadata import read_metadata
from semcolor_jax.photos.photo import Origin, Photo
from semcolor_jax.photos.profiles import deep_to_srgb, to_srgb

Source = str | os.PathLike[str] | bytes
"""A file's path or content."""

STDIN = "standard input"
"""Default name in messages for a file given as bytes."""

_QUARTER_TURNS = (5, 6, 7, 8)
_DARK = 8  # 16-bit files that use at most this share of the range get a warning: an eighth


def examine(source: Source, *, name: str = STDIN) -> Origin:
    """Returns the origin of a photo's file, from its header alone. Raises `UserError` as `read_pages` does."""
    with _opened(source, name) as (image, file):
        return origin_of(image, file)


def size_of(source: Source, *, name: str = STDIN) -> tuple[int, int]:
    """Returns the height and width of a photo's pixels as the header states them, before its EXIF turns it.

    Raises `UserError` as `read_pages` does.
    """
    with _opened(source, name) as (image, _):
        return image.height, image.width


def read_pages(source: Source, *, tolerant: bool = False, name: str = STDIN) -> Iterator[Photo]:
    """Yields the photo, or all pages of a TIFF file, upright and in true lightness.

    Args:
      source: a path, or the bytes of a file.
      tolerant: accept a truncated file, whatever is missing; else only if a few rows are
        (`damage.bearable_rows`).
      name: in messages, for a file given as bytes.

    Raises:
      UserError: no such file, not a photo, damaged, an animation, a camera's raw file, or larger than Pillow's limit
        against decompression bombs (179 megapixels).
    """
    with _opened(source, name) as (image, file):
        origin = origin_of(image, file)
    for page in range(origin.pages):
        with _opened(source, name) as (image, file):
            if page:
                image.seek(page)
            photo = _read_page(image, file, page, dataclasses.replace(origin_of(image, file), pages=origin.pages))
            if photo is not None:
                yield photo
                continue
        yield _read_cut_short(source, page, origin, tolerant=tolerant, name=name)


def read_one(source: Source, *, tolerant: bool = False, name: str = STDIN) -> Photo:
    """Returns the photo, or a TIFF file's first page. Raises `UserError` as `read_pages` does."""
    return next(read_pages(source, tolerant=tolerant, name=name))


@contextlib.contextmanager
def _opened(source: Source, name: str) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """Opens a photo by its content; every failure inside the block becomes a `UserError` that names the file."""
    name = name if isinstance(source, bytes) else os.fspath(source)
    file: BinaryIO = io.BytesIO(source if isinstance(source, bytes) else b"")
    with contextlib.ExitStack() as stack:
        try:
            if not isinstance(source, bytes):
                _check_path(Path(source))
                file = stack.enter_context(open(source, "rb"))
            yield stack.enter_context(Image.open(file, formats=readable())), file
        except UserError as error:
            raise UserError(str(error) if name in str(error) else f"{name} {error}.") from error
        except FileNotFoundError as error:
            raise UserError(f"there is no file {name}.") from error
        except Image.DecompressionBombError as error:
            raise UserError(f"{name} is too large: {error}") from error
        except Image.UnidentifiedImageError as error:
            raise UserError(f"{name} is not a photo that can be read: {_reason(file)}.") from error
        except PermissionError as error:
            raise UserError(f"{name} may not be read: {error.strerror}.") from error
        except Exception as error:  # decoders raise exceptions of every kind on broken bytes
            raise UserError(f"{name} is damaged ({_one_line(error)}): replace or delete it.") from error


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder, but a photo is wanted.")
    if path.suffix.lower() in RAW_SUFFIXES:
        raise UserError("is a camera's raw file: develop it to TIFF or JPEG first")


def _reason(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(4096)
    if not start:
        return "the file is empty"
    if start[4:8] == b"ftyp" and not enable_heif():
        return "HEIC needs the package pillow-heif (pip install pillow-heif)"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "it holds text"
    return "its content is of no known image format, or damaged"


def _read_page(image: Image.Image, file: BinaryIO, page: int, origin: Origin) -> Photo | None:
    """Returns the photo, or None if the file ends too early."""
    if image.mode == "F":
        raise UserError("has floating-point pixels of unknown range: save it with 8 or 16 bits")
    if image.mode in ("I", "I;16S") and origin.format == "TIFF" and origin.bits != 16:
        raise UserError("has 32-bit pixels of unknown range: save it with 8 or 16 bits")
    try:
        if origin.format == "TIFF" and origin.bits == 16:
            return _deep_photo(image, file, page, origin)
        image.load()
    except UserError:
        raise
    except Exception as error:
        if not _is_end_of_file(error):
            raise
        return None
    return _deep_photo(image, file, page, origin) if origin.bits == 16 else photo_of_image(image, origin)


def _is_end_of_file(error: Exception) -> bool:
    text = str(error).lower()
    return any(
        sign in text for sign in ("truncated", "end of file", "eof", "incomplete", "not enough", "decoder error")
    )


def _read_cut_short(source: Source, page: int, origin: Origin, *, tolerant: bool, name: str) -> Photo:
    with _opened(source, name) as (image, _), truncated_images_allowed():
        image.seek(page)
        image.load()
        missing, height = missing_rows(image), image.height
        if missing > bearable_rows(height) and not tolerant:
            raise UserError(f"is cut short: {missing} of its {height} rows are missing; `--tolerant` colours the rest")
        if missing == height:
            raise UserError("is cut short: nothing of the picture is there")
        photo = photo_of_image(image, dataclasses.replace(origin, bits=8))
    lacks = f"lacks {missing} of its {height} rows" if missing else "lacks its last bytes"
    return dataclasses.replace(photo, warnings=(f"{lacks} (the file is cut short)", *photo.warnings))


def photo_of_image(image: Image.Image, origin: Origin) -> Photo:
    """Returns the 8-bit photo of a Pillow image, as `read_pages` does."""
    alpha = None
    colors = image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha, colors = rgba.getchannel("A"), rgba.convert("RGB")
        if image.mode in ("L", "LA", "La"):
            colors = rgba.getchannel("R")
    elif image.mode in ("1", "I;16", "I;16B", "I;16L"):
        colors = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        colors = image.convert("RGB")
    srgb, warning = to_srgb(colors, image.info.get("icc_profile"))
    turn = UPRIGHT.get(orientation(image))
    if turn is not None:
        srgb, alpha = srgb.transpose(turn), alpha and alpha.transpose(turn)
    return _with_metadata(
        image,
        Photo(
            pixels=pixels_of(srgb),
            alpha=None if alpha is None else np.array(alpha),
            origin=origin,
            warnings=() if warning is None else (warning,),
        ),
    )


def _deep_photo(image: Image.Image, file: BinaryIO, page: int, origin: Origin) -> Photo:
    """Returns a 16-bit photo of an opened image."""
    read = deep.read_deep(image, file, page)
    warnings = []
    if (share := deep.used_share(read.samples)) >= _DARK and read.samples.any():
        warnings.append(f"uses only the lowest 1/{share} of its range and comes out dark; --stretch spreads it")
    samples, warning = deep_to_srgb(read.samples, image.info.get("icc_profile"))
    turn = orientation(image)
    pixels = upright(samples, turn)
    alpha = None if read.alpha is None else upright(read.alpha, turn)
    return _with_metadata(
        image,
        Photo(
            pixels=np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3))),
            alpha=None if alpha is None else np.ascontiguousarray(alpha),
            origin=origin,
            warnings=(*warnings, *([warning] if warning else ())),
        ),
    )


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Returns a view of an (H, W, ...) array, rotated or mirrored as the EXIF orientation says."""
    if orientation in _QUARTER_TURNS:
        array = array.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return array[::rows, ::columns]


def _with_metadata(image: Image.Image, photo: Photo) -> Photo:
    metadata = read_metadata(image, quarter_turn=orientation(image) in _QUARTER_TURNS)
    warnings = list(photo.warnings)
    if metadata.exif is None and image.info.get("exif"):
        warnings.append("has a damaged EXIF block, which was left out")
    if image.format == "MPO":
        warnings.append("holds a second picture (MPO), which is not kept")
    return dataclasses.replace(photo, metadata=metadata, warnings=tuple(warnings))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
