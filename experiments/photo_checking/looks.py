"""Checks coloured photos with readers other than the program's own: Pillow, LittleCMS, scikit-image, exiftool."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from jaxtyping import Float
from PIL import Image, ImageCms, ImageOps
from skimage.color import rgb2lab

pillow_heif.register_heif_opener()

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_CHANGED = {
    "Orientation", "ExifByteOrder", "Software", "ColorSpace", "ColorComponents", "ColorType", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsPerSample", "BitDepth", "ImageWidth", "ImageHeight", "ExifImageWidth",
    "ExifImageHeight", "StripOffsets", "StripByteCounts", "RowsPerStrip", "PlanarConfiguration", "Compression",
    "Predictor", "SampleFormat", "NewSubfileType", "PageNumber", "ResolutionUnit", "XResolution", "YResolution",
    "YCbCrPositioning",
}  # fmt: skip
"""Tags for pixel storage, and resolutions, for which formats use different units."""


def lightness(path: Path) -> Float[np.ndarray, "h w"]:
    """Returns CIE L, 0..100, of a file's first page, read through its profile and rotated upright."""
    if path.stem.endswith("_16"):
        deep = tifffile.imread(path) if path.suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())
        rgb = np.asarray(deep, np.float64)
        assert deep.dtype == np.uint16, f"{path} has {deep.dtype}"
        return rgb2lab((rgb if rgb.ndim == 3 else np.repeat(rgb[..., None], 3, -1))[..., :3] / 0xFFFF)[..., 0]
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        image = ImageOps.exif_transpose(image)
        if image.mode in ("LA", "RGBA", "P", "PA"):
            image = image.convert("RGBA" if "A" in image.mode else "RGB").convert("RGB")
        if profile:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # Little CMS's tables for 8-bit grey are off by some L in dark tones.
            image = ImageCms.profileToProfile(image, given, _SRGB, outputMode="RGB", flags=ImageCms.Flags.NOOPTIMIZE)
            assert image is not None
        return rgb2lab(np.asarray(image.convert("RGB")))[..., 0]


def check_whole(path: Path) -> str | None:
    """Returns what is wrong with a file that should be a complete picture; None if nothing is."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError) as error:
        return f"{path.name}: {error}"
    return None


def metadata(path: Path) -> dict[str, Any]:
    """Returns what exiftool finds in a file of EXIF, XMP, IPTC, text and comment, by group and tag."""
    command = ["exiftool", "-json", "-G0", "-EXIF:all", "-XMP:all", "-IPTC:all", "-PNG:all", "-File:Comment", str(path)]
    (found,) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {key: value for key, value in found.items() if key != "SourceFile"}


def lost(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Returns the input's tags that the result lacks or changes, except those on pixel storage."""
    values = {key.partition(":")[2]: value for key, value in after.items()}
    names = {key: key.partition(":")[2] for key in before}
    return [key for key, name in names.items() if name not in _CHANGED and before[key] != values.get(name)]
