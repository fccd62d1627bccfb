"""Reads images with more than 8 bits per sample, in PNG, TIFF and PGM files, as 16-bit arrays."""

from __future__ import annotations

import dataclasses
import struct
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt16
from PIL import Image

from semcolor_jax.errors import UserError

FULL = 0xFFFF
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB = 0, 1, 2  # TIFF's photometric interpretations
_MAX_VALUE_TAGS = (341, 281)  # SMaxSampleValue, MaxSampleValue
_ASSOCIATED_ALPHA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deep:
    """16-bit samples with the file's meaning: 0 black, 65535 white; alpha separate and not premultiplied."""

    samples: UInt16[np.ndarray, "height width channels"]
    alpha: UInt16[np.ndarray, "height width"] | None = None


def read_deep(image: Image.Image, file: BinaryIO, page: int) -> Deep:
    """Reads the samples of an opened image with 16 as `Origin.bits`.

    If the file says that values end below 65535 (12 bits in 16: TIFF's SMaxSampleValue, PNG's sBIT), they are spread.

    Raises:
      UserError: an unsupported kind of pixels; a clause without the file's name.
      Exception: the decoders' own, on damaged files.
    """
    if image.format == "TIFF":
        return _read_tiff(file, page)
    if image.format == "PNG":
        import imagecodecs

        file.seek(0)
        data = file.read()
        values = imagecodecs.png_decode(data)
        return _split(values[..., None] if values.ndim == 2 else values, largest=_png_largest(data))
    values = np.asarray(image)
    if values.min() < 0 or values.max() > FULL:
        raise UserError("has 32-bit pixels of unknown range: save it with 8 or 16 bits")
    return _split(values.astype(np.uint16)[..., None], largest=FULL)


def used_share(samples: UInt16[np.ndarray, ...]) -> int:
    """Returns n, a power of two, if the values use 1/n of their range: 16 for 12 bits in 16."""
    return 1 << (16 - int(samples.max()).bit_length())


def _read_tiff(file: BinaryIO, page: int) -> Deep:
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        found = tiff.pages[page]
        assert isinstance(found, tifffile.TiffPage)
        if found.dtype != np.uint16 or found.photometric not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB):
            kind = f"{found.dtype}, {tifffile.PHOTOMETRIC(found.photometric).name}"
            raise UserError(f"has pixels of a kind that is not read ({kind}): save it as RGB")
        values = np.asarray(found.asarray())
        if "S" in found.axes and not found.axes.endswith("S"):
            values = np.moveaxis(values, 0, -1)
        values = values.reshape(found.imagelength, found.imagewidth, -1)
        largest = (1 << found.bitspersample) - 1
        if found.bitspersample == 16:
            stated = [int(np.max(found.tags[tag].value)) for tag in _MAX_VALUE_TAGS if tag in found.tags]
            largest = stated[0] if stated and 0 < stated[0] < FULL else FULL
        colors = 3 if found.photometric == _RGB else 1
        if colors == 1 and found.photometric == _MIN_IS_WHITE:
            inverted = (
                np.maximum(largest, values[..., :1]) - values[..., :1] if largest < FULL else FULL - values[..., :1]
            )
            values = np.concatenate([inverted, values[..., 1:]], axis=-1)
        has_alpha = values.shape[-1] > colors and bool(found.extrasamples)
        kept = values[..., : colors + has_alpha]
        return _split(kept, largest=largest, associated=has_alpha and found.extrasamples[0] == _ASSOCIATED_ALPHA)


def _split(values: UInt16[np.ndarray, "height width channels"], *, largest: int, associated: bool = False) -> Deep:
    if largest < FULL and values.max() <= largest:
        values = ((values.astype(np.uint32) * FULL + largest // 2) // largest).astype(np.uint16)
    if values.shape[-1] in (1, 3):
        return Deep(samples=values)
    samples, alpha = values[..., :-1], values[..., -1]
    if associated:
        whole = samples.astype(np.uint32) * FULL // np.maximum(alpha, 1)[..., None]
        samples = np.minimum(whole, FULL).astype(np.uint16)
    return Deep(samples=samples, alpha=alpha)


def _png_largest(data: bytes) -> int:
    """Returns the largest value according to the sBIT chunk, a sample's number of significant bits."""
    at = data.find(b"sBIT", 8, data.find(b"IDAT"))
    if at < 0:
        return FULL
    (size,) = struct.unpack_from(">I", data, at - 4)
    bits = max(data[at + 4 : at + 4 + size], default=16)
    return (1 << bits) - 1 if 8 < bits < 16 else FULL
