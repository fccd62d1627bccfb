"""Handles colour profiles: converts a file's values to sRGB, and provides the profile of coloured files."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from jaxtyping import UInt16
from PIL import Image, ImageCms

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
_DATE = slice(24, 36)  # creation date in an ICC header, which would make every run's files differ
_FIXED_DATE = bytes.fromhex("07ea000100010000 00000000".replace(" ", ""))


@functools.cache
def srgb_profile() -> bytes:
    """Returns the ICC profile of sRGB, always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_DATE] = _FIXED_DATE
    return bytes(profile)


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """Converts an 8-bit image (modes L, RGB, CMYK, LAB) to sRGB in mode L or RGB.

    The rendering intent is the profile's own default, perceptual, as in viewers.

    Returns:
      the image, and a warning if its profile cannot be used; the values then count as sRGB.
    """
    warning = _problem(profile, image.mode) if profile else None
    if image.mode == "LAB" and (profile is None or warning):
        lab = ImageCms.createProfile("LAB")
        return _transform(image, ImageCms.ImageCmsProfile(lab)), None
    if profile is None or warning:
        return (image if image.mode in ("L", "RGB") else image.convert("RGB")), warning
    if image.mode == "L":  # Little CMS's fast path for 8-bit grey is off by some L in dark tones
        ramp, warning = deep_to_srgb((np.arange(256, dtype=np.uint16) * 257).reshape(1, 256, 1), profile)
        return image.point(((ramp[0, :, -1].astype(np.uint32) + 128) // 257).tolist()), warning
    try:
        return _transform(image, ImageCms.ImageCmsProfile(io.BytesIO(profile))), None
    except ImageCms.PyCMSError:
        return (image if image.mode in ("L", "RGB") else image.convert("RGB")), _unusable("cannot be used")


def deep_to_srgb(
    samples: UInt16[np.ndarray, "height width channels"], profile: bytes | None
) -> tuple[UInt16[np.ndarray, "height width samples"], str | None]:
    """Converts 16-bit grey (one channel) or RGB to sRGB of 3 channels, or of 1 if nothing was to do, as `to_srgb`."""
    if profile is None:
        return samples, None
    grey = samples.shape[-1] == 1
    if warning := _problem(profile, "L" if grey else "RGB"):
        return samples, warning
    import imagecodecs  # Pillow's ImageCms has no 16-bit RGB

    try:
        converted = imagecodecs.cms_transform(
            np.ascontiguousarray(samples[..., 0] if grey else samples),
            profile,
            srgb_profile(),
            colorspace="gray" if grey else "rgb",
            outcolorspace="rgb",
            intent=0,
            flags=0x0100,  # cmsFLAGS_NOOPTIMIZE: no coarse tables, which would show at 16 bits
        )
    except Exception:  # of a library's C code
        return samples, _unusable("cannot be used")
    return converted, None


def _transform(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert result is not None
    return result


def _problem(profile: bytes, mode: str) -> str | None:
    try:
        opened: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        space = opened.xcolor_space.strip()
    except OSError:
        return _unusable("is damaged")
    if space != _SPACES.get(mode):
        return _unusable(f"is for {space}, not for these pixels")
    return None


def _unusable(problem: str) -> str:
    return f"has a colour profile that {problem}, so its numbers were taken for sRGB"
