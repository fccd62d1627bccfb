"""Reads photos as plain 8-bit sRGB, for training and for metrics, and writes images.

Photos may be rotated by EXIF, greyscale, CMYK or 16-bit, or have a palette, transparency or a colour profile.
`photos.reading` also reads what colouring keeps of a file beyond its pixels.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile

from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.photos.formats import SUFFIXES, enable_heif
from semcolor_jax.photos.profiles import to_srgb

PHOTO_SUFFIXES = (*(suffix for suffixes in SUFFIXES.values() for suffix in suffixes), ".gif")
"""Suffixes that `list_images` takes for photos, ignoring case."""

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC_TAG, _MIN_IS_WHITE = 262, 0
_STRIP_ROWS = 256  # copied from Pillow's image at once
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow reads 16-bit PGM files as 32-bit "I"

# Pillow warns from 90 megapixels on, which some cameras have, and refuses twice that; the refusal is enough.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_photo(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a photo as upright sRGB.

    The colour profile and the EXIF orientation are applied; transparent parts are composited on white; greyscale fills
    three channels; 16-bit values keep their upper 8 bits, without their profile. Only the first frame of an animation
    counts.

    Raises:
      UserError: if `path` is missing, a folder, not an image, damaged, or larger than Pillow's limit against
        decompression bombs (179 megapixels).
    """
    with open_image(path) as image:
        return decode(image, path)


def open_image(path: str | os.PathLike[str]) -> ImageFile.ImageFile:
    """Opens an image file and reads only its header. Raises `UserError` as `read_photo` does."""
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder, but an image file is wanted.")
    if Path(path).suffix.lower() in SUFFIXES["HEIF"]:
        enable_heif()
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise UserError(f"{path} is not an image that can be read, or is damaged.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read: {error.strerror}.") from error
    except Exception as error:  # decoders raise exceptions of every kind on broken bytes
        raise _damaged(path, error) from error


def decode(image: Image.Image, path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an opened image in full, as `read_photo` says. `path` is for the message of the `UserError`."""
    load_pixels(image, path)
    try:
        rgb = _to_rgb(image)
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    turn = UPRIGHT.get(orientation(image))
    return pixels_of(rgb if turn is None else rgb.transpose(turn))


def load_pixels(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Decodes an opened image in place, in its file's mode. Raises `UserError` naming a damaged `path`."""
    try:
        image.load()
    except Exception as error:  # as in open_image
        raise _damaged(path, error) from error


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation 1..8; 1 (upright) if there is none or the EXIF block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a photo with a broken EXIF block is still a photo
        return 1
    return value if value in UPRIGHT else 1


def write_image(path: str | os.PathLike[str], array: UInt8[np.ndarray, "h w *c"], *, quality: int = 95) -> None:
    """Writes an (H, W, 3) or (H, W) uint8 image, atomically, in the format that the suffix names.

    `quality` is for JPEG and WebP. The pixels are upright, so no EXIF is written.

    Raises:
      UserError: if the suffix is unknown, or the folder is missing or cannot be written.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"cannot write {path}: the suffix must be one of {', '.join(_FORMATS)}.")
    options = {"quality": quality} if kind in ("JPEG", "WEBP") else {}
    if kind == "JPEG":
        options["subsampling"] = 0  # chroma subsampling would blur exactly what this project makes
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format=kind, **options)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the image files below a folder, sorted; links are followed, hidden files and folders left out.

    Raises:
      UserError: if the folder does not exist or is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, but a folder is wanted" if folder.exists() else "does not exist"
        raise UserError(f"the folder {folder} {problem}.")
    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link to a parent folder
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in files if _is_photo(name)]
    return sorted(found)


def _is_photo(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(PHOTO_SUFFIXES)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Returns the image in mode RGB or L."""
    if image.mode in _SIXTEEN_BIT:
        return Image.fromarray(_upper_bits(image))
    if image.mode == "F":
        raise UserError("has floating-point pixels of unknown range: save it with 8 or 16 bits.")
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colors, _ = to_srgb(rgba.convert("RGB"), profile)
        white = Image.new("RGB", image.size, (255, 255, 255))
        return Image.composite(colors, white, rgba.getchannel("A"))
    colors, _ = to_srgb(image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB"), profile)
    return colors


def _upper_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise UserError("has 32-bit pixels of unknown range: save it with 8 or 16 bits.")
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == _MIN_IS_WHITE:  # Pillow inverts 8-bit files only
        values = 0xFFFF - values
    return (values >> 8).astype(np.uint8)


def pixels_of(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Returns an RGB or L image as RGB, copied by strips: in one go, Pillow would hold the pixels two more times."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)).convert("RGB"))
    return pixels


def _damaged(path: str | os.PathLike[str], error: Exception) -> UserError:
    return UserError(f"{path} is damaged or cut short ({error}): replace or delete it.")
