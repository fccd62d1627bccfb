"""Fuzzes the photo reader with atheris: whatever the bytes, a photo or one sentence comes out.

python tools/soak/fuzz_photos.py -max_total_time=120 -rss_limit_mb=2048 [CORPUS]

The corpus begins with small files of each format, made here, and stays small: inputs of at most 20 kB.
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atheris
import numpy as np
from PIL import Image

with atheris.instrument_imports(include=["semcolor_jax.photos"]):
    from semcolor_jax.errors import UserError
    from semcolor_jax.photos.reading import read_pages

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "PPM", "WEBP", "JPEG2000", "AVIF")
counts = {"read": 0, "refused": 0}


def seeds(folder: Path) -> None:
    """Writes one small photo of each format, and 16-bit and grey ones."""
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    for kind in FORMATS:
        try:
            Image.fromarray(colours).save(folder / f"rgb.{kind}", kind)
        except (OSError, KeyError, ValueError):  # a Pillow without this format
            continue
    deep = Image.fromarray((np.arange(63, dtype=np.uint16) * 1000).reshape(9, 7))
    for kind in ("PNG", "TIFF"):
        deep.save(folder / f"deep.{kind}", kind)
    Image.fromarray(colours).convert("P").save(folder / "palette.PNG", "PNG")


def one(data: bytes) -> None:
    """Reads one input; any exception but `UserError` is a finding."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for photo in read_pages(io.BytesIO(data).getvalue()):
                assert photo is not None
        counts["read"] += 1
    except UserError as error:
        if len(str(error).splitlines()) != 1:
            raise RuntimeError(f"not one sentence: {error}") from error
        counts["refused"] += 1
    if sum(counts.values()) % 2000 == 0:
        print(counts, file=sys.stderr, flush=True)


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = 1_000_000  # the limit is tested elsewhere; here it would only cost time
    with tempfile.TemporaryDirectory() as made:
        seeds(Path(made))
        atheris.Setup([sys.argv[0], "-max_len=20000", "-timeout=20", *sys.argv[1:], made], one)
        atheris.Fuzz()
