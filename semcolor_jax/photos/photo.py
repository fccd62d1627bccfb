"""Defines the photo type: pixels together with all metadata of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8, UInt16

Pixels = UInt8[np.ndarray, "height width 3"] | UInt16[np.ndarray, "height width 3"]
"""Upright sRGB, 0..255 or 0..65535."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Properties of a file, so that its coloured form can have the same.

    Attributes:
      format: Pillow's name of the file format, such as "JPEG", "TIFF", "HEIF".
      bits: per sample of `Photo.pixels`: 8, or 16 where the file has more than 8.
      lossless: whether the file holds exactly the pixels that were put in.
      compression: a TIFF file's, as tifffile names it: "none", "adobe_deflate", "lzw", ...
      pages: how many photos the file holds; more than 1 only in TIFF.
    """

    format: str
    bits: int = 8
    lossless: bool = True
    compression: str = "none"
    pages: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """A file's metadata, rotated with its photo: orientations in it are 1 (upright).

    Attributes:
      exif: the EXIF block, `Exif\\0\\0` and a TIFF structure; for a TIFF file, its descriptive tags.
      xmp: the XMP packet.
      dpi: pixels per inch, horizontally and vertically.
      text: PNG's text chunks by keyword.
      comment: of a JPEG or JPEG 2000 file.
      segments: JPEG's segments with IPTC and extended XMP, as in the file.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = dataclasses.field(default_factory=dict)
    comment: bytes | None = None
    segments: bytes = b""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo:
    """One decoded photo.

    Attributes:
      pixels: upright sRGB, with the CIE lightness of the file read through its colour profile.
      alpha: opacity, at the same bit depth; None if the file has none.
      metadata: to write with the result.
      origin: what the file was.
      warnings: for the user, each a clause about the file ("lacks its last bytes").
    """

    pixels: Pixels
    alpha: UInt8[np.ndarray, "height width"] | UInt16[np.ndarray, "height width"] | None = None
    metadata: Metadata = dataclasses.field(default_factory=Metadata)
    origin: Origin = dataclasses.field(default_factory=lambda: Origin(format="PNG"))
    warnings: tuple[str, ...] = ()
