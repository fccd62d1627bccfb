"""Writes coloured photos in the format and with the metadata of their source files."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.photos import png
from semcolor_jax.photos.formats import SIXTEEN_BITS, enable_heif
from semcolor_jax.photos.metadata import without_orientation
from semcolor_jax.photos.photo import Metadata, Photo
from semcolor_jax.photos.profiles import srgb_profile
from semcolor_jax.photos.tiff import write_tiff

QUALITY = 95
"""Default quality of lossy formats, 1..100."""

_NO_ALPHA = ("JPEG", "PPM")
_MAX_SEGMENT = 65_000  # bytes in one JPEG marker, with room for its name
_KEEPS_EXIF = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")


def write_photos(
    path: str | os.PathLike[str], photos: Iterable[Photo], *, format: str, quality: int = QUALITY
) -> list[str]:
    """Writes a photo, or the pages of a TIFF file as they come, atomically and with an sRGB profile.

    The compression is the origin's if the format is the same. Nothing appears under the final name until all of it is
    on disk.

    Args:
      path: the file's; its suffix does not matter.
      photos: one, or several for TIFF.
      format: one of `formats.SUFFIXES`.
      quality: for lossy formats.

    Returns:
      what the format cannot hold, each a clause ("is written with 8 bits").

    Raises:
      UserError: the photo does not fit the format, or the disk is full or may not be written.
    """
    notes: list[str] = []
    with replacing(path) as temporary, open(temporary, "w+b") as file:
        if format == "TIFF":
            write_tiff(file, photos, quality=quality)
        else:
            (photo,) = photos
            data, notes = encode(photo, format=format, quality=quality, name=os.fspath(path))
            file.write(data)
        file.flush()
        os.fsync(file.fileno())  # a full disk fails here at the latest
    return notes


def encode(photo: Photo, *, format: str, quality: int = QUALITY, name: str = "the photo") -> tuple[bytes, list[str]]:
    """Returns the bytes of a file of one photo, and what the format cannot hold. Raises as `write_photos` does."""
    try:
        fitting, notes = _fit(photo, format)
        if format == "TIFF":
            file = io.BytesIO()
            write_tiff(file, [fitting], quality=quality)
            return file.getvalue(), notes
        if fitting.pixels.dtype == np.uint16:
            return png.encode_deep(fitting, _png_options(fitting.metadata)), notes
        if format == "HEIF" and not enable_heif():
            raise UserError(f"cannot write {name}: HEIC needs the package pillow-heif (pip install pillow-heif).")
        file = io.BytesIO()
        _image(fitting).save(file, format=format, **_options(fitting, format, quality, notes))
        return file.getvalue(), notes
    except (OSError, ValueError, RuntimeError) as error:  # for instance a side beyond the format's limit
        raise UserError(f"cannot write {name} as {format}: {' '.join(str(error).split())}.") from error


def with_suffix_of(path: Path, suffix: str) -> Path:
    """Returns the path with another suffix; what only looks like a suffix ("Mr. Smith") stays."""
    known = len(path.suffix) in range(2, 7) and path.suffix[1:].isalnum()
    return path.with_suffix(suffix) if known else path.with_name(path.name + suffix)


def _fit(photo: Photo, format: str) -> tuple[Photo, list[str]]:
    """Converts the pixels to a form that the format holds."""
    pixels, alpha, notes = photo.pixels, photo.alpha, []
    if pixels.dtype == np.uint16 and format not in SIXTEEN_BITS:
        notes.append(f"is written with 8 bits, which is all that {format} holds")
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        alpha = None if alpha is None else (alpha >> 8).astype(np.uint8)
    if alpha is not None and format in _NO_ALPHA:
        notes.append(f"is laid on white: {format} has no transparency")
        share = alpha[..., None].astype(np.float32) / 255
        pixels = np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)
        alpha = None
    if format not in _KEEPS_EXIF and (photo.metadata.exif or photo.metadata.xmp):
        notes.append(f"loses its EXIF data, which {format} files do not hold here")
    if photo.metadata.text and format != "PNG":
        notes.append(f"loses its text, which {format} files do not hold")
    return dataclasses.replace(photo, pixels=pixels, alpha=alpha), notes


def _image(photo: Photo) -> Image.Image:
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def _options(photo: Photo, format: str, quality: int, notes: list[str]) -> dict[str, Any]:
    """Returns the arguments of Pillow's writer for the format."""
    metadata, same = photo.metadata, photo.origin.format == format
    blocks = {"exif": metadata.exif, "xmp": metadata.xmp, "icc_profile": srgb_profile()}
    blocks = {key: value for key, value in blocks.items() if value}
    dpi = {"dpi": metadata.dpi} if metadata.dpi else {}
    if format == "JPEG":
        for key in ("exif", "xmp"):
            if len(blocks.get(key, b"")) > _MAX_SEGMENT:
                notes.append(f"loses its {key.upper()} data, which is too long for JPEG")
                del blocks[key]
        # Chroma subsampling would blur exactly what this project makes.
        options: dict[str, Any] = {"quality": quality, "subsampling": 0, "extra": metadata.segments}
        comment = {"comment": metadata.comment[:_MAX_SEGMENT]} if metadata.comment else {}
        rounded = {"dpi": tuple(round(value) for value in metadata.dpi)} if metadata.dpi else {}
        return blocks | options | comment | rounded
    if format == "PNG":
        return _png_options(metadata)
    if format == "WEBP":
        lossless = photo.origin.lossless and same
        return blocks | {"lossless": lossless, "quality": 80 if lossless else quality, "exact": True}
    if format == "AVIF":
        if metadata.exif:  # Pillow rewrites it, in ASCII, if it has an orientation
            blocks["exif"] = without_orientation(metadata.exif)
        return blocks | {"quality": quality, "subsampling": "4:4:4"}
    if format == "HEIF":
        return blocks | {"quality": quality, "chroma": 444}
    if format == "JPEG2000":
        lossless = photo.origin.lossless
        rate = {} if lossless else {"quality_mode": "dB", "quality_layers": [30 + quality / 5]}
        comment = {"comment": metadata.comment} if metadata.comment else {}
        return {"irreversible": not lossless, "no_jp2": False} | rate | comment
    return dpi if format == "BMP" else {}


def _png_options(metadata: Metadata) -> dict[str, Any]:
    info = PngImagePlugin.PngInfo()
    for key, value in metadata.text.items():
        if isinstance(value, PngImagePlugin.iTXt):
            info.add_itxt(key, value, value.lang or "", value.tkey or "")
        else:
            info.add_text(key, value)
    if metadata.comment and "Comment" not in metadata.text:
        info.add_text("Comment", metadata.comment.decode("utf-8", "replace"))
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    options: dict[str, Any] = {"pnginfo": info, "icc_profile": srgb_profile()}
    if metadata.exif:
        options["exif"] = metadata.exif
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    return options
