"""Reads photo metadata from every format, and rotates it upright with the pixels."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from semcolor_jax.photos.photo import Metadata

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD, XMP_TAG = 0x0112, 0x8769, 0x8825, 0xA005, 700
_WIDTH, _HEIGHT = 0xA002, 0xA003  # of the photo, in the Exif IFD
_ASCII, _SHORT, _LONG = 2, 3, 4
_DESCRIPTION = 270
_PREFIX = b"Exif\0\0"

# Tags of TIFF that say how the pixels are stored, or hold other pictures (thumbnails, Photoshop's layers); the writer
# makes its own. Everything else describes the photo and is kept, private tags included.
# fmt: off
STRUCTURAL = frozenset((
    *range(254, 260), *range(262, 267), 273, ORIENTATION, 277, 278, 279, 280, 281, 284, *range(288, 294), 301, 317, 318,
    319, 320, 321, *range(322, 326), 330, *range(332, 348), *range(512, 522), *range(529, 533), 34675, 37724, XMP_TAG,
))
# fmt: on
_PNG_PRIVATE = re.compile(r"Raw profile type |XML:com\.adobe\.xmp$")  # EXIF, XMP, ICC in text: written in their place


def read_metadata(image: Image.Image, *, quarter_turn: bool) -> Metadata:
    """Returns the metadata of an opened and loaded image's file, with orientation set to 1.

    Args:
      image: as Pillow opened it.
      quarter_turn: whether making it upright exchanges its width and height.
    """
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    dpi = info.get("dpi")
    if dpi is not None:
        dpi = (float(dpi[1]), float(dpi[0])) if quarter_turn else (float(dpi[0]), float(dpi[1]))
    text = {key: value for key, value in getattr(image, "text", {}).items() if not _PNG_PRIVATE.match(key)}
    comment = info.get("comment")
    return Metadata(
        exif=_exif_of(image, quarter_turn=quarter_turn),
        xmp=None if xmp is None else _upright_xmp(xmp if isinstance(xmp, bytes) else xmp.encode()),
        dpi=dpi if dpi and min(dpi) > 0 else None,
        text=text,
        comment=comment if isinstance(comment, bytes) else comment.encode() if comment else None,
        segments=_segments(image),
    )


def upright_exif(block: bytes, *, quarter_turn: bool) -> bytes:
    """Returns an EXIF block with orientation 1 and without its thumbnail; everything else keeps its bytes and offsets.

    Rewriting the whole block would lose maker notes, with offsets from its start, and non-ASCII letters.

    Raises:
      struct.error: the block is damaged.
    """
    data = bytearray(block.removeprefix(_PREFIX))
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise struct.error("no byte order")
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    places = _entries(data, first, order)
    if ORIENTATION in places:
        struct.pack_into(f"{order}HI2H", data, places[ORIENTATION] + 2, _SHORT, 1, 1, 0)
    (count,) = struct.unpack_from(f"{order}H", data, first)
    struct.pack_into(f"{order}I", data, first + 2 + 12 * count, 0)  # the thumbnail's IFD: it shows the grey photo
    if quarter_turn and EXIF_IFD in places:
        (inner,) = struct.unpack_from(f"{order}I", data, places[EXIF_IFD] + 8)
        sides = _entries(data, inner, order)
        if _WIDTH in sides and _HEIGHT in sides:
            width, height = (slice(sides[tag] + 2, sides[tag] + 12) for tag in (_WIDTH, _HEIGHT))
            data[width], data[height] = data[height], data[width]
    return _PREFIX + bytes(data)


def without_orientation(block: bytes) -> bytes:
    """Returns an EXIF block without the orientation tag: later tags move up in their list."""
    data = bytearray(block.removeprefix(_PREFIX))
    order = "<" if data[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    place = _entries(data, first, order).get(ORIENTATION)
    if place is None:
        return block
    (count,) = struct.unpack_from(f"{order}H", data, first)
    end = first + 2 + 12 * count + 4
    data[place:end] = data[place + 12 : end] + bytes(12)
    struct.pack_into(f"{order}H", data, first, count - 1)
    return _PREFIX + bytes(data)


def load_ifd(block: bytes, offset: int | None = None) -> ImageFileDirectory_v2:
    """Returns the first IFD of an EXIF block, or the one at `offset`."""
    file = io.BytesIO(block.removeprefix(_PREFIX))
    directory = ImageFileDirectory_v2(file.read(8))
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    return directory


def raw_value(value: Any) -> Any:
    """Returns a tag's value, with text as the file's bytes: Pillow reads Latin-1 and would write ASCII."""
    return value.encode("latin-1", "replace") if isinstance(value, str) else value


def _exif_of(image: Image.Image, *, quarter_turn: bool) -> bytes | None:
    try:
        if image.format == "TIFF":
            return _block_of_tiff(image)
        block = image.info.get("exif") or image.getexif().tobytes()  # the latter: PNG's EXIF as text
        if len(block.removeprefix(_PREFIX)) < 16:
            return None
        return upright_exif(block, quarter_turn=quarter_turn)
    except Exception:  # a photo with a broken EXIF block is still a photo
        return None


def _block_of_tiff(image: Image.Image) -> bytes | None:
    tags: ImageFileDirectory_v2 = image.tag_v2  # type: ignore[attr-defined]
    exif = image.getexif()
    directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
    for tag in tags:
        shaped = tag == _DESCRIPTION and str(tags[tag]).startswith(
            '{"shape":'
        )  # tifffile's own note, on the grey array
        if tag not in STRUCTURAL and tag not in (EXIF_IFD, GPS_IFD) and not shaped:
            directory.tagtype[tag] = tags.tagtype[tag]
            directory[tag] = raw_value(tags[tag])
    for tag in (EXIF_IFD, GPS_IFD):
        inner = {key: raw_value(value) for key, value in exif.get_ifd(tag).items() if key != INTEROP_IFD}
        if inner:
            directory.tagtype[tag] = _LONG
            directory[tag] = inner
    return _PREFIX + b"II*\0\x08\0\0\0" + directory.tobytes(8) if len(directory) else None


def _entries(data: bytearray, offset: int, order: str) -> dict[int, int]:
    """Returns the offsets of each tag's twelve bytes."""
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    places = range(offset + 2, offset + 2 + 12 * count, 12)
    return {struct.unpack_from(f"{order}H", data, place)[0]: place for place in places}


def _upright_xmp(packet: bytes) -> bytes:
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[1-8]", rb"\g<1>1", packet)


def _segments(image: Image.Image) -> bytes:
    """Returns the JPEG segments that Pillow does not write: APP13 (IPTC, Photoshop) and extended XMP."""
    kept = b""
    for name, content in getattr(image, "applist", ()):
        extended = name == "APP1" and content.startswith(b"http://ns.adobe.com/xmp/extension/")
        if name == "APP13" or extended:
            kept += (b"\xff\xed" if name == "APP13" else b"\xff\xe1") + struct.pack(">H", len(content) + 2) + content
    return kept
