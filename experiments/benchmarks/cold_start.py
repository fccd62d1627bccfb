"""Measures how long a user waits for the first photo of 512 pixels, and for the next one.

The network is that of configs/release.py with random weights, written as a released model. `semcolor colorize`
colours one photo in a fresh process, with an empty and with a filled cache of compiled programs. Another
fresh process loads the model with `semcolor_jax.load` and colours three photos without any cache: the first, one of the
same shape, and one of another shape. Then a folder of small photos is coloured, one by one and in batches.

    python experiments/benchmarks/cold_start.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from semcolor_jax.errors import UserError

PACKAGES = ("jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "pillow")
SHAPES = {"first": (512, 341), "next": (512, 341), "next, of another shape": (512, 512)}
SMALL = (256, 256)
COUNT = 32


def command_seconds(photo: Path, *, model: Path, output: Path, cache: Path) -> dict[str, float]:
    """Returns the seconds and the peak memory of the whole command, from the start of the process to its end."""
    environment = os.environ | {"PYTHONPATH": str(common.ROOT), "SEMCOLOR_COMPILE_CACHE": str(cache)}
    arguments = ["-m", "semcolor_jax", "colorize", str(photo), "-o", str(output), "--model", str(model)]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"The command ended with exit code {process.returncode}; see above.")
    return {"seconds": seconds, "peak_mb": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6}


def colour_photos(model: str, photos: dict[str, str], output: str) -> dict[str, float]:
    """Loads the model and colours the photos in turn; returns the seconds of each part."""
    start = time.perf_counter()
    import semcolor_jax
    from semcolor_jax.inference.photo_files import colorize_files

    colorizer = semcolor_jax.load(model)
    seconds = {"import and load": time.perf_counter() - start}
    for name, photo in photos.items():
        seconds[name] = common.timed(lambda photo=photo: colorize_files(colorizer, [photo], output))
    return seconds


def photos_per_second(model: str, folder: str, output: str) -> dict[str, float]:
    """Colours a folder of small photos three times in each of two ways, in turn; returns medians."""
    import semcolor_jax
    from semcolor_jax.inference import photo_files

    colorizer = semcolor_jax.load(model)
    sizes = {"one by one": 1, "in batches": photo_files.BATCH}
    seconds: dict[str, list[float]] = {name: [] for name in sizes}
    for _ in range(4):
        for name, batch in sizes.items():
            photo_files.BATCH = batch
            seconds[name].append(common.timed(lambda: photo_files.colorize_files(colorizer, [folder], output)))
    return {name: COUNT / statistics.median(values[1:]) for name, values in seconds.items()}  # the first compiles


def measure(*, repeats: int) -> dict[str, Any]:
    """Measures everything `repeats` times, in fresh processes; returns medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common.write_random_model(folder / "model", common.release_config())
        photos = {}
        for photo, (width, height) in SHAPES.items():
            photos[photo] = str(folder / f"{photo}.jpg")
            common.write_photo(Path(photos[photo]), width=width, height=height)
        (folder / "small").mkdir()
        for index in range(COUNT):
            common.write_photo(folder / "small" / f"{index}.jpg", width=SMALL[0], height=SMALL[1])
        settings = {"model": str(folder / "model"), "output": str(folder / "out")}
        rows: list[dict[str, float]] = []
        for round_ in range(repeats):
            row, cache = {}, folder / f"cache{round_}"
            for state in ("empty", "filled"):
                fresh = folder / f"out, {round_}, {state}"  # a photo that is finished already would be skipped
                whole = command_seconds(Path(photos["first"]), model=folder / "model", output=fresh, cache=cache)
                row[f"command, {state} cache"] = whole["seconds"]
                row[f"command, {state} cache: peak MB"] = whole["peak_mb"]
            row |= _fresh({**settings, "photos": photos})
            rows.append(row)
        per_second = _fresh({**settings, "folder": str(folder / "small")})
    medians = {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
    rounded = {name: round(value, 2) for name, value in per_second.items()}
    return {"seconds": medians, "photos_per_second": rounded, "small_photos": {"count": COUNT, "pixels": SMALL}}


def _fresh(settings: dict[str, Any]) -> dict[str, float]:
    with common.workers(__file__, {"case": settings}) as running:
        return running["case"].ask("run")


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        case = json.loads(args.worker)
        if "folder" in case:
            common.serve({"run": lambda: photos_per_second(case["model"], case["folder"], case["output"])})
        else:
            common.serve({"run": lambda: colour_photos(case["model"], case["photos"], case["output"])})
        return
    result = measure(repeats=args.repeats) | common.environment(PACKAGES)
    common.save("cold_start", result, output=args.output)
    for name, value in (result["seconds"] | result["photos_per_second"]).items():
        common.report({"case": name, "value": value})


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
