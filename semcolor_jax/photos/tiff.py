"""Writes TIFF files page by page, with the source's compression and descriptive tags."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from semcolor_jax.photos.metadata import EXIF_IFD, GPS_IFD, STRUCTURAL, XMP_TAG, load_ifd, raw_value
from semcolor_jax.photos.photo import Photo
from semcolor_jax.photos.profiles import srgb_profile

_KINDS = {
    "none": None,
    "adobe_deflate": "adobe_deflate",
    "deflate": "adobe_deflate",  # the same compression under its old number
    "lzw": "lzw",
    "packbits": "packbits",
    "zstd": "zstd",
    "lzma": "lzma",
    "jpeg": "jpeg",
    "ojpeg": "jpeg",
    "webp": "webp",
}
_OTHER_KIND = "adobe_deflate"  # in place of bilevel-only compressions (CCITT) and rare ones
_PREDICTED = ("adobe_deflate", "lzw", "zstd", "lzma")
_LOSSY = ("jpeg", "webp")
_PLACEHOLDERS = {EXIF_IFD: EXIF_IFD - 1, GPS_IFD: GPS_IFD - 2}
"""tifffile writes no tags that point to directories: unassigned numbers in the same order stand in at first."""
_RATIONALS, _TEXT, _BYTES, _LONG = (5, 10), 2, (1, 7), 4
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_OWN = STRUCTURAL | {_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, *_PLACEHOLDERS.values()}


def write_tiff(file: BinaryIO, photos: Iterable[Photo], *, quality: int) -> None:
    """Writes the photos as the pages of one TIFF file, holding one at a time.

    Raises:
      OSError: the disk is full or may not be written.
    """
    blocks: list[bytes | None] = []
    with tifffile.TiffWriter(file) as writer:
        for photo in photos:
            _write_page(writer, photo, quality=quality)
            blocks.append(photo.metadata.exif)
    if any(blocks):
        _append_exif(file, blocks)


def _write_page(writer: tifffile.TiffWriter, photo: Photo, *, quality: int) -> None:
    origin = photo.origin
    kind = _KINDS.get(origin.compression, _OTHER_KIND) if origin.format == "TIFF" else _OTHER_KIND
    deep = photo.pixels.dtype == np.uint16
    if kind in _LOSSY and (deep or photo.alpha is not None):
        kind = _OTHER_KIND
    x, y, unit = _resolution(photo)
    writer.write(
        photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha]),
        photometric="rgb",
        planarconfig="contig",
        extrasamples=None if photo.alpha is None else ["unassalpha"],
        compression=kind,
        compressionargs={"level": quality} if kind in _LOSSY else None,
        predictor=kind in _PREDICTED,
        rowsperstrip=max(1, min(photo.pixels.shape[0], 2**20 // photo.pixels[:1].nbytes))
        if kind not in _LOSSY
        else None,
        iccprofile=srgb_profile(),
        resolution=(x, y),
        resolutionunit=unit,
        software=False,
        metadata=None,
        extratags=_tags(photo),
    )


def _resolution(photo: Photo) -> tuple[Any, Any, int]:
    tags = load_ifd(photo.metadata.exif) if photo.metadata.exif else {}
    if _X_RESOLUTION in tags and _Y_RESOLUTION in tags:
        x, y = (_fraction(tags[tag]) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
        if x[0] > 0 and x[1] > 0 and y[0] > 0 and y[1] > 0:
            return x, y, int(tags.get(_RESOLUTION_UNIT, 2))
    if photo.metadata.dpi:
        return photo.metadata.dpi[0], photo.metadata.dpi[1], 2
    return 1, 1, 1


def _tags(photo: Photo) -> list[tuple[int, int, int, Any, bool]]:
    """Returns the descriptive tags in tifffile's form: code, type, count, value, first page only."""
    tags: list[tuple[int, int, int, Any, bool]] = []
    directory = load_ifd(photo.metadata.exif) if photo.metadata.exif else ImageFileDirectory_v2()
    for code, value in directory.items():
        if code in _PLACEHOLDERS:
            tags.append((_PLACEHOLDERS[code], _LONG, 1, 0, False))  # `_append_exif` fills it in
        elif code not in _OWN and code not in tifffile.TIFF.TAG_FILTERED:
            kind = directory.tagtype[code]
            tags.append((code, kind, *_counted(kind, value), False))
    if photo.metadata.xmp:
        tags.append((XMP_TAG, 1, len(photo.metadata.xmp), photo.metadata.xmp, False))
    return tags


def _counted(kind: int, value: Any) -> tuple[int, Any]:
    """Returns the count and the value of a tag of that TIFF type, in tifffile's form."""
    if kind == _TEXT:
        text = raw_value("\0".join(value) if isinstance(value, tuple) else value) + b"\0"
        return len(text), text
    if kind in _BYTES and isinstance(value, bytes):
        return len(value), value
    values = value if isinstance(value, tuple) else (value,)
    if kind in _RATIONALS:
        return len(values), tuple(part for each in values for part in _fraction(each))
    return len(values), values


def _fraction(value: Any) -> tuple[int, int]:
    if isinstance(value, IFDRational):
        return int(value.numerator), int(value.denominator)
    return round(value * 1000), 1000


def _append_exif(file: BinaryIO, blocks: list[bytes | None]) -> None:
    """Appends each page's Exif and GPS directories, and points the page's tags to them."""
    file.flush()
    file.seek(0)
    with tifffile.TiffFile(file) as written:
        for page, block in zip(written.pages, blocks, strict=True):
            assert isinstance(page, tifffile.TiffPage)
            for code, placeholder in _PLACEHOLDERS.items():
                if block is not None and placeholder in page.tags:
                    offset = file.seek(0, io.SEEK_END)
                    offset += file.write(b"\0" * (offset % 2))
                    file.write(_inner(block, code, written.byteorder).tobytes(offset))
                    tag = page.tags[placeholder]
                    tag.overwrite(offset)
                    file.seek(tag.offset)
                    file.write(struct.pack(f"{written.byteorder}H", code))


def _inner(block: bytes, code: int, order: str) -> ImageFileDirectory_v2:
    """Returns the Exif or GPS directory of a block, to be written in the byte order of the file."""
    outer = load_ifd(block)
    offset = outer[code]
    found = load_ifd(block, offset if isinstance(offset, int) else offset[0])
    fresh = ImageFileDirectory_v2(b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08")
    for tag, value in found.items():
        if tag != 0xA005:  # the interoperability directory would have to be moved, too
            fresh.tagtype[tag] = found.tagtype[tag]
            fresh[tag] = raw_value(value)
    return fresh
