"""Fuzzes the readers of other frameworks' weights with atheris: arrays or one sentence, and no code runs.

python tools/soak/fuzz_weights.py -max_total_time=120 -rss_limit_mb=2048 [CORPUS]

The first byte chooses the reader: pickled arrays, `.pth` in both layouts, or `.caffemodel`.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atheris
import numpy as np

with atheris.instrument_imports(include=["semcolor_jax.formats"]):
    from semcolor_jax.errors import UserError
    from semcolor_jax.formats.caffe import read_caffemodel
    from semcolor_jax.formats.safe_pickle import load_arrays
    from semcolor_jax.formats.torch_pth import read_pth

READERS = (load_arrays, read_pth, read_caffemodel)
counts = {"read": 0, "refused": 0}
path = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / "weights"  # noqa: S108


def seeds(folder: Path) -> None:
    """Writes small files of the formats, and pickles that would run a command."""
    arrays = {"conv": {"kernel": np.ones((3, 3, 1, 2), np.float32), "bias": np.zeros(2)}}
    evil = b"cos\nsystem\n(S'touch semcolor-fuzz-ran'\ntR."
    for protocol in (0, 2, 4):
        (folder / f"arrays{protocol}").write_bytes(b"\0" + pickle.dumps(arrays, protocol))
    (folder / "evil").write_bytes(b"\0" + evil)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("model/data.pkl", pickle.dumps({}, 2))
        file.writestr("model/byteorder", b"little")
    (folder / "zip").write_bytes(b"\1" + packed.getvalue())
    legacy = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, [])
    (folder / "legacy").write_bytes(b"\1" + b"".join(pickle.dumps(part, 2) for part in legacy))
    (folder / "evil.pth").write_bytes(b"\1" + evil)
    (folder / "caffe").write_bytes(b"\2\x0a\x03vgg\xa2\x06\x10\x0a\x05conv1\x12\x0bConvolution")


def one(data: bytes) -> None:
    """Reads one input; any exception but `UserError` is a finding, and so is a program that was started."""
    if not data:
        return
    path.write_bytes(data[1:])
    try:
        READERS[data[0] % len(READERS)](path)
        counts["read"] += 1
    except UserError as error:
        if len(str(error).splitlines()) != 1:
            raise RuntimeError(f"not one sentence: {error}") from error
        counts["refused"] += 1
    if sum(counts.values()) % 5000 == 0:
        print(counts, file=sys.stderr, flush=True)


def forbidden(*args: object, **kwargs: object) -> None:
    """Stands in for what a pickle would call."""
    os.abort()


if __name__ == "__main__":
    os.system = forbidden  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as made:
        seeds(Path(made))
        atheris.Setup([sys.argv[0], "-max_len=20000", "-timeout=20", *sys.argv[1:], made], one)
        atheris.Fuzz()
