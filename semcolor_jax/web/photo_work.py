"""Processes one photo of the web page: runs the network once, and colours it at full size."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semcolor_jax.color import lab as cielab
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.flat import coloured_part
from semcolor_jax.inference.hints import paint
from semcolor_jax.inference.look import look
from semcolor_jax.inference.photo_files import Options, prepared
from semcolor_jax.inference.strips import Pixels
from semcolor_jax.photos.encoding import encode
from semcolor_jax.photos.formats import NAMES, writable_format
from semcolor_jax.photos.photo import Photo
from semcolor_jax.photos.reading import read_one
from semcolor_jax.web.engine import Coloured, Engine
from semcolor_jax.web.limits import Refused
from semcolor_jax.web.sessions import Kept
from semcolor_jax.web.settings import Settings, mixed_ab

SCREEN = 1280
"""Longest side, in pixels, of the picture on which the page mixes colours."""

_LUMINANCE = (cielab.XYZ_FROM_LINEAR[1][:, None] * cielab.LINEAR_FROM_UINT8).astype(np.float32)


async def keep(engine: Engine, content: bytes, *, name: str, pixels: int) -> Kept:
    """Decodes a photo and runs the network on it. Raises `Refused` (415) if it is damaged."""
    photo = await engine.by_hand(_read, content, name)
    seen = await engine.by_network(look, engine.colorizer, photo.pixels)
    pages = photo.origin.pages
    more = (f"has {pages} pages, of which the first is coloured",) if pages > 1 else ()
    return await engine.by_hand(
        lambda: Kept(
            name=name,
            content=content,
            pixels=pixels,
            size=photo.pixels.shape[:2],
            grey=screen_grey(photo.pixels),
            part=coloured_part(photo.pixels),
            look=seen,
            notes=(*photo.warnings, *more),
        )
    )


def full_size(kept: Kept, settings: Settings, usual: ColorChoice) -> Coloured:
    """Returns the file of a kept photo, coloured as its settings say. The network is not run again.

    Raises:
      UserError: the photo does not fit the format.
    """
    ab = mixed_ab(kept, settings, usual)
    photo = _read(kept.content, kept.name)
    hints = settings.hints_on(*photo.pixels.shape[:2])
    photo = dataclasses.replace(photo, pixels=paint(photo.pixels, ab, hints, coloured=kept.part, in_place=True))
    kind = NAMES[settings.format] if settings.format else writable_format(photo.origin, "")
    content, notes = encode(photo, format=kind)
    return Coloured(content, kind, tuple(notes))


def screen_picture(kept: Kept, settings: Settings, usual: ColorChoice) -> bytes:
    """Returns a PNG file of a kept photo at the size of a screen, coloured as its settings say."""
    grey = np.repeat(kept.grey[..., None], 3, axis=-1)
    height, width = grey.shape[:2]
    part = kept.part
    small = dataclasses.replace(
        part,
        top=round(part.top * height / part.height),
        bottom=round(part.bottom * height / part.height),
        left=round(part.left * width / part.width),
        right=round(part.right * width / part.width),
        height=height,
        width=width,
    )
    hints = settings.hints_on(height, width)
    pixels = paint(grey, mixed_ab(kept, settings, usual), hints, coloured=small, in_place=True)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def screen_grey(pixels: Pixels) -> UInt8[np.ndarray, "h w"]:
    """Returns a photo's lightness as sRGB grey, shrunk to `SCREEN`."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((SCREEN, SCREEN), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small = np.asarray(image)
    luminance = sum(_LUMINANCE[channel][small[..., channel]] for channel in range(3))
    grey = cielab.srgb_from_linear(np.clip(luminance, 0, 1), xp=np)
    return np.rint(255 * grey).astype(np.uint8)


def _read(content: bytes, name: str) -> Photo:
    try:
        return prepared(read_one(content, name=name), Options())
    except UserError as error:
        raise Refused(415, "not_a_photo", str(error)) from error
