"""Lists image formats: which can be read, how headers identify them, and which can be written."""

from __future__ import annotations

import contextlib
import functools
import struct
from typing import BinaryIO

from PIL import Image

from semcolor_jax.errors import UserError
from semcolor_jax.photos.photo import Origin

READABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF", "PCX", "SGI", "QOI")
"""By Pillow's names; files are recognised by their content. MPO opens as JPEG."""

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pnm"),
}
"""The formats that can be written, each with its usual suffixes, the default first."""

NAMES = {
    "jpeg": "JPEG", "jpg": "JPEG", "png": "PNG", "tiff": "TIFF", "tif": "TIFF", "webp": "WEBP", "avif": "AVIF",
    "heic": "HEIF", "jp2": "JPEG2000", "bmp": "BMP",
}  # fmt: skip
"""The formats that can be requested, by their common names."""

MEDIA_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "AVIF": "image/avif",
    "HEIF": "image/heic", "JPEG2000": "image/jp2", "BMP": "image/bmp", "PPM": "image/x-portable-anymap",
}  # fmt: skip
"""Media types of the formats that can be written, as IANA registers them (PPM's is customary)."""

ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")
SIXTEEN_BITS = ("PNG", "TIFF")
"""The formats that are written with 16 bits per sample."""

RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
"""Cameras' raw files, which look like TIFF and hold a small preview."""

_PNG_DEPTH_AT, _TIFF_BITS, _TIFF_COMPRESSION = 24, 258, 259
_LOSSY_TIFF = ("jpeg", "ojpeg", "jpeg_2000", "webp", "jpegxr", "jpeg_2000_lossy")


@functools.cache
def enable_heif() -> bool:
    """Makes Pillow read HEIC with pillow-heif; returns whether that is installed."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
        return True
    return False


@functools.cache
def readable() -> tuple[str, ...]:
    """Returns those of `READABLE` that this installation can open."""
    enable_heif()
    Image.init()
    return tuple(name for name in READABLE if name in Image.OPEN)


def origin_of(image: Image.Image, file: BinaryIO) -> Origin:
    """Returns the origin of an opened image, from its header.

    Raises:
      UserError: an animation. The message is a clause without the file's name.
    """
    format = image.format or "PNG"
    frames = getattr(image, "n_frames", 1)
    if format in ANIMATIONS and frames > 1:
        raise UserError(
            f"is an animation of {frames} frames, which `colorize` does not colour: give it to `semcolor video`, or "
            "save one frame as a photo"
        )
    if format == "TIFF":
        return _origin_of_tiff(image, pages=frames)
    bits = 16 if _is_deep(image, file) else 8
    lossless = {
        "JPEG": lambda: False,
        "MPO": lambda: False,
        "AVIF": lambda: False,
        "HEIF": lambda: False,
        "WEBP": lambda: _is_lossless_webp(file),
        "JPEG2000": lambda: _is_lossless_jpeg2000(file),
    }.get(format, lambda: True)()
    return Origin(format=format, bits=bits, lossless=lossless)


def format_of_suffix(suffix: str) -> str | None:
    """Returns the format that a suffix such as ".JPG" names; None if it cannot be written."""
    return next((format for format, known in SUFFIXES.items() if suffix.lower() in known), None)


def writable_format(origin: Origin, suffix: str) -> str:
    """Returns the format for a file's coloured form: the same, or the nearest that can hold it."""
    same = {"MPO": "JPEG", "DIB": "BMP"}.get(origin.format, origin.format)
    if origin.bits == 16:
        return same if same in SIXTEEN_BITS else "PNG"
    if same == "PPM" and suffix.lower() not in SUFFIXES["PPM"]:
        return "PNG"  # .pgm and .pbm imply grey
    if same in SUFFIXES:
        return same
    return "PNG" if origin.lossless else "JPEG"


def _is_deep(image: Image.Image, file: BinaryIO) -> bool:
    if image.format == "PNG":
        return _peek(file, _PNG_DEPTH_AT + 1)[-1:] == b"\x10"
    return image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N")


def _origin_of_tiff(image: Image.Image, *, pages: int) -> Origin:
    from tifffile import COMPRESSION

    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_TIFF_BITS, (1,))
    compression = COMPRESSION(tags.get(_TIFF_COMPRESSION, 1)).name.lower()
    return Origin(
        format="TIFF",
        bits=16 if 8 < max(bits if isinstance(bits, tuple) else (bits,)) <= 16 else 8,
        lossless=compression not in _LOSSY_TIFF,
        compression=compression,
        pages=pages,
    )


def _is_lossless_webp(file: BinaryIO) -> bool:
    """Returns whether the picture is in a VP8L chunk (Google's WebP container specification)."""
    data = _peek(file, None)
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 8 + size + size % 2
    return False


def _is_lossless_jpeg2000(file: BinaryIO) -> bool:
    """Returns whether the wavelet is reversible: the last byte of the COD marker segment (ISO 15444-1, A.6.1)."""
    data = _peek(file, 2**16)
    start = data.find(b"\xff\x4f\xff\x51")  # SOC, SIZ
    at = data.find(b"\xff\x52", max(start, 0))
    return at >= 0 and data[at + 13 : at + 14] == b"\x01"


def _peek(file: BinaryIO, count: int | None) -> bytes:
    position = file.tell()
    file.seek(0)
    data = file.read() if count is None else file.read(count)
    file.seek(position)
    return data
