"""Writes an album to colour: the same few photos in every format, and files that are not photos."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

Grey = UInt8[np.ndarray, "h w"]

DATE, ARTIST, DESCRIPTION = "1931:05:14 10:20:30", "A. Photographer", "Mill and river"
BAD = ("corrupt.jpg", "animated.gif", "text.jpg")
"""Files of the album that cannot be coloured."""

_LOSSY = (".jpg", ".avif", ".heic")


def made_up(count: int, *, height: int, width: int) -> list[Grey]:
    """Returns synthetic greys with gradients, edges and grain."""
    pictures = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(20, 236, (7, 9), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        y, x = np.mgrid[:height, :width]
        smooth[(x // (width // 5) + y // (height // 4)) % 3 == seed % 3] *= 0.7
        pictures.append(np.uint8(np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255)))
    return pictures


def read_greys(folder: Path, *, count: int) -> list[Grey]:
    """Returns this many photos of a folder as greys."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return [np.asarray(Image.open(path).convert("L")) for path in files[:count]]


def write_album(folder: Path, greys: Sequence[Grey], *, count: int = 60) -> None:
    """Writes `count` files: every format in turn, one photo of a single pixel, and the `BAD` ones."""
    folder.mkdir(parents=True)
    for index in range(count - len(BAD) - 1):
        writer = _WRITERS[index % len(_WRITERS)]
        writer(folder, f"{index:02d}", greys[index % len(greys)])
    Image.new("L", (1, 1), 120).save(folder / "pixel.png")
    whole = folder / "00.jpg"
    (folder / "corrupt.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    (folder / "text.jpg").write_text("This is no photo.\n")
    frames = [Image.fromarray(grey).resize((40, 30)) for grey in greys[:2]]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:], duration=100)


def is_lossy(path: Path) -> bool:
    """Whether an album's file of this name loses data when rewritten."""
    return path.suffix in _LOSSY or (path.suffix == ".webp" and "lossy" in path.stem)


def linear_profile() -> bytes:
    """Returns an ICC profile for greys proportional to light (ICC.1:2022, 8.3)."""
    pack = struct.pack
    tags = {
        b"wtpt": b"XYZ " + bytes(4) + pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv" + bytes(4) + pack(">I", 0),
        b"desc": b"desc" + bytes(4) + pack(">I", 2) + b"x\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"-\0\0\0",
    }
    table, body = pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + pack(">2I", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = pack(">I4s4B", 128 + len(table) + len(body), bytes(4), 2, 64, 0, 0) + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def _exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x013B], exif[0x0132] = orientation, DESCRIPTION, ARTIST, DATE
    exif.get_ifd(0x8769)[0x9003] = DATE
    return exif


def _jpeg(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).save(folder / f"{name}.jpg", quality=93, exif=_exif(), dpi=(600, 600), comment=DESCRIPTION)


def _turned_jpeg(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).convert("RGB").save(folder / f"{name}.jpg", quality=93, exif=_exif(6))


def _profiled_jpeg(folder: Path, name: str, grey: Grey) -> None:
    linear = np.uint8(255 * (grey / 255.0) ** 2.2)
    Image.fromarray(linear).save(folder / f"{name}.jpg", quality=95, icc_profile=linear_profile(), exif=_exif())


def _png(folder: Path, name: str, grey: Grey) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", DESCRIPTION)
    Image.fromarray(grey).save(folder / f"{name}.png", pnginfo=text, exif=_exif(), dpi=(300, 300))


def _profiled_png(folder: Path, name: str, grey: Grey) -> None:
    linear = np.uint8(255 * (grey / 255.0) ** 2.2)
    Image.fromarray(linear).save(folder / f"{name}.png", icc_profile=linear_profile())


def _alpha_png(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(np.stack([grey, 255 - grey], axis=-1), "LA").save(folder / f"{name}.png")


def _deep(grey: Grey) -> np.ndarray:
    grain = np.random.default_rng(0).integers(-128, 128, grey.shape)
    return np.clip(grey.astype(int) * 257 + grain, 0, 0xFFFF).astype(np.uint16)


def _deep_png(folder: Path, name: str, grey: Grey) -> None:
    (folder / f"{name}_16.png").write_bytes(imagecodecs.png_encode(_deep(grey)))


def _deep_tiff(folder: Path, name: str, grey: Grey) -> None:
    tifffile.imwrite(folder / f"{name}_16.tif", _deep(grey), compression="zlib", description=DESCRIPTION)


def _tiff(folder: Path, name: str, grey: Grey) -> None:
    image = Image.fromarray(grey)
    image.save(folder / f"{name}.tif", compression="tiff_lzw", dpi=(600, 600), artist=ARTIST, description=DESCRIPTION)


def _pages(folder: Path, name: str, grey: Grey) -> None:
    tifffile.imwrite(
        folder / f"{name}_pages.tif", np.stack([grey, grey[::-1]]), photometric="minisblack", metadata=None
    )


def _lossy_webp(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).convert("RGB").save(folder / f"{name}_lossy.webp", quality=92, exif=_exif())


def _webp(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).convert("RGB").save(folder / f"{name}.webp", lossless=True)


def _avif(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).save(folder / f"{name}.avif", quality=90, exif=_exif())


def _heic(folder: Path, name: str, grey: Grey) -> None:
    pillow_heif.register_heif_opener()
    Image.fromarray(grey).convert("RGB").save(folder / f"{name}.heic", quality=90, exif=_exif())


def _jpeg2000(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).save(folder / f"{name}.jp2")


def _bmp(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).save(folder / f"{name}.bmp")


def _pnm(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).save(folder / f"{name}.pgm")


def _gif(folder: Path, name: str, grey: Grey) -> None:
    Image.fromarray(grey).save(folder / f"{name}.gif")


_WRITERS = (
    _jpeg, _png, _tiff, _turned_jpeg, _deep_png, _webp, _profiled_jpeg, _deep_tiff, _lossy_webp, _avif, _heic,
    _profiled_png, _jpeg2000, _alpha_png, _bmp, _pnm, _gif, _pages,
)  # fmt: skip
