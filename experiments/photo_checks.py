"""Checks `semcolor colorize` end to end, on synthetic photos in every format, or on your own folder.

python experiments/photo_checks.py [--photos DIR] [--checks album,kill,lightness,metadata,memory] [--count 500]

album: 60 files, of which three are no photos: 57 coloured, three named, exit code 1, and a rerun does nothing twice.
kill: SIGKILL in the middle: nothing half-written, and the rerun loses nothing. lightness: of every result against its
input's, by Pillow, LittleCMS and scikit-image. metadata: by exiftool, where it is installed. memory: `--count` photos
of 12 megapixels in one call, resident memory by psutil. Writes a table to --output; exits with 1 if a check fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
from absl import app, flags
from photo_checking.album import BAD, Grey, is_lossy, made_up, read_greys, write_album
from photo_checking.looks import check_whole, lightness, lost, metadata
from PIL import Image

from semcolor_jax.cli import flags as cli
from semcolor_jax.files import write_text

PHOTOS = flags.DEFINE_string("photos", "", "Folder of photos to make the album of; empty: made up.")
CHECKS = flags.DEFINE_list("checks", "album,kill,lightness,metadata,memory", "What to check.")
COUNT = flags.DEFINE_integer("count", 500, "Photos of 12 megapixels of the check of memory.")
OUTPUT = flags.DEFINE_string("output", "", "File for the table, in Markdown.")

_FILES = 60
_LIMITS = {"lossless": 0.6, "lossy": 3.0, "16 bits": 100 / 2**15}  # of CIE L, in the mean
_MEMORY = 1000  # MB
_MEGAPIXELS_12 = (3000, 4000)


def main(_: list[str]) -> None:
    """Runs the checks one after the other in a temporary folder."""
    greys = read_greys(Path(PHOTOS.value), count=6) if PHOTOS.value else made_up(4, height=300, width=400)
    rows: list[tuple[str, str, bool]] = []
    with tempfile.TemporaryDirectory(prefix="photo_checks_") as name:
        folder = Path(name)
        write_album(folder / "album", greys, count=_FILES)
        for check in CHECKS.value:
            for what, found, right in _CHECKS[check](folder, greys):
                rows.append((f"{check}: {what}", found, right))
                print(f"{'ok   ' if right else 'WRONG'}  {check}: {what}: {found}", flush=True)
    lines = ["| check | found | |", "|---|---|---|", *(f"| {a} | {b} | {'ok' if c else 'wrong'} |" for a, b, c in rows)]
    if OUTPUT.value:
        write_text(OUTPUT.value, "\n".join(lines) + "\n")
    if not all(right for _, _, right in rows):
        raise SystemExit(1)


Found = Iterator[tuple[str, str, bool]]
"""What is checked, what was found, and whether it is right."""


def check_album(folder: Path, greys: list[Grey]) -> Found:
    """Colours the album twice."""
    del greys
    first = _colorize(folder / "album", folder / "out")
    written = _written(folder / "out")
    yield "coloured", f"{len(written)} of {_FILES}", len(written) >= _FILES - len(BAD)
    named = [name for name in BAD if name in first.stderr]
    yield "named", ", ".join(named), len(named) == len(BAD)
    yield "exit code", str(first.returncode), first.returncode == 1
    yield "traceback", "yes" if "Traceback" in first.stderr else "none", "Traceback" not in first.stderr
    times = {path: path.stat().st_mtime_ns for path in written}
    again = _colorize(folder / "album", folder / "out")
    changed = [path for path, before in times.items() if path.stat().st_mtime_ns != before]
    yield "rerun writes", f"{len(changed)} files, exit code {again.returncode}", not changed and again.returncode == 1


def check_kill(folder: Path, greys: list[Grey]) -> Found:
    """Ends a run by SIGKILL after some results, and runs it again."""
    del greys
    out = folder / "killed"
    with subprocess.Popen(_command(folder / "album", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(_FILES // 3):
            process.stdout.readline()
        process.kill()
    broken = [problem for path in _written(out) if (problem := check_whole(path))]
    yield "half-written files after SIGKILL", f"{broken or 0} of {len(_written(out))}", not broken
    before = {path: path.stat().st_mtime_ns for path in _written(out)}
    _colorize(folder / "album", out)
    written = _written(out)
    yield "after the rerun", f"{len(written)} coloured", len(written) >= _FILES - len(BAD)
    redone = sum(path.stat().st_mtime_ns != before[path] for path in before)
    yield "done twice", f"{redone} of {len(before)}", redone <= 2  # written, but not yet recorded when it was killed
    left = [path.name for path in out.rglob(".semcolor-*") if not path.name.endswith(".jsonl")]
    yield "temporary files left", str(left or "none"), not left


def check_lightness(folder: Path, greys: list[Grey]) -> Found:
    """Compares the lightness of each result with its input's, format by format."""
    del greys
    _ensure(folder)
    differences: dict[str, list[float]] = {}
    for source, result in _pairs(folder):
        difference = float(np.abs(lightness(source) - lightness(result)).mean())
        kind = "16 bits" if source.stem.endswith("_16") else "lossy" if is_lossy(source) else "lossless"
        differences.setdefault(f"{source.suffix[1:]}, {kind}", []).append(difference)
    for name, values in sorted(differences.items()):
        limit = _LIMITS[name.partition(", ")[2]]
        yield f"{name}, worst of {len(values)}", f"{max(values):.4f} L (at most {limit:.4g})", max(values) <= limit


def check_metadata(folder: Path, greys: list[Grey]) -> Found:
    """Compares what exiftool finds in each input and its result."""
    del greys
    if shutil.which("exiftool") is None:
        yield "exiftool", "not installed: nothing compared", True
        return
    _ensure(folder)
    for suffix in sorted({source.suffix for source, _ in _pairs(folder)}):
        tags, gone = 0, set()
        for source, result in _pairs(folder):
            if source.suffix == suffix:
                before = metadata(source)
                tags += len(before)
                gone |= set(lost(before, metadata(result)))
        yield suffix, f"{tags} tags, lost: {', '.join(sorted(gone)) or 'none'}", not gone


def check_memory(folder: Path, greys: list[Grey]) -> Found:
    """Measures the memory of one call over many large photos."""
    inputs = folder / "large"
    inputs.mkdir()
    height, width = _MEGAPIXELS_12
    for index in range(COUNT.value):
        path = inputs / f"{index:04d}.jpg"
        if index < 4:
            Image.fromarray(greys[index % len(greys)]).resize((width, height)).save(path, quality=90)
        else:
            os.link(inputs / f"{index % 4:04d}.jpg", path)
    process = subprocess.Popen(
        _command(inputs, folder / "large_out"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    done, curve = [0], []

    def watch() -> None:
        while process.poll() is None:
            try:
                curve.append((done[0], psutil.Process(process.pid).memory_info().rss / 1e6))
            except psutil.NoSuchProcess:
                return
            time.sleep(0.25)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout is not None
    for line in process.stdout:
        done[0] += 1
        Path(line.decode().strip()).write_bytes(b"")  # 500 results would take gigabytes of disk
    process.wait()
    watcher.join()
    peaks = [max((size for at, size in curve if low <= at < high), default=0.0) for low, high in _thirds(COUNT.value)]
    yield "coloured", f"{done[0]} of {COUNT.value}", done[0] == COUNT.value
    yield "peak by thirds of the run", ", ".join(f"{peak:.0f} MB" for peak in peaks), peaks[2] < 1.1 * peaks[1]
    yield "peak", f"{max(peaks):.0f} MB (at most {_MEMORY})", max(peaks) <= _MEMORY


_CHECKS: dict[str, Callable[[Path, list[Grey]], Found]] = {
    "album": check_album,
    "kill": check_kill,
    "lightness": check_lightness,
    "metadata": check_metadata,
    "memory": check_memory,
}


def _command(photos: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "semcolor_jax", "colorize", str(photos), "-o", str(out)]


def _colorize(photos: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(photos, out), check=False, capture_output=True, text=True)


def _ensure(folder: Path) -> None:
    if not (folder / "out").is_dir():
        _colorize(folder / "album", folder / "out")


def _written(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))


def _pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields each photo of the album with its result: of the same name, or with another suffix in place or behind."""
    for source in sorted((folder / "album").iterdir()):
        results = [path for path in _written(folder / "out") if re.match(rf"{source.stem}\.", path.name)]
        if source.name not in BAD and results:
            exact = [path for path in results if path.name.startswith(source.name)]
            yield source, (exact or results)[0]


def _thirds(count: int) -> list[tuple[int, int]]:
    return [(part * count // 3, (part + 1) * count // 3 + (part == 2)) for part in range(3)]


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
