"""Measures how long colour hints take on a large photo: the optimisation at its small size, and the full-size merge.

The photo is "coffee" enlarged, with a camera's noise; the network's colours are random planes of the released network's
size, since the colours do not affect the time. Each case is run once to compile and then REPEATS times; the figures are
medians.

    python experiments/benchmarks/hints.py                     # 4000 x 3000 pixels
    python experiments/benchmarks/hints.py --width 1280 --height 960
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from semcolor_jax.inference.hints import hints_of, paint
from semcolor_jax.inference.strips import Pixels, merge

PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "scipy")
PLANES = 96, 128  # of the network's colours, height and width
CASES: dict[str, list[dict[str, Any]]] = {
    "one point": [{"x": 0.25, "y": 0.4, "color": "#8db4dc"}],
    "three points": [
        {"x": 0.25, "y": 0.2, "color": "#8db4dc"},
        {"x": 0.5, "y": 0.66, "color": "#a84520"},
        {"x": 0.75, "y": 0.5, "color": "#204020"},
    ],
    "two strokes": [
        {"points": [[0.1, 0.2], [0.4, 0.25], [0.6, 0.15]], "radius": 0.004, "color": "#8db4dc"},
        {"points": [[0.3, 0.7], [0.5, 0.8]], "radius": 0.004, "color": "#a84520"},
    ],
}


def photo(width: int, height: int) -> Pixels:
    """Returns a grey photo of that size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        common.write_photo(path, width=width, height=height)
        grey = np.asarray(Image.open(path).convert("L"))
    return np.repeat(grey[..., None], 3, axis=-1)


def scaled(hint: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    """Converts a hint from shares of the photo to pixels."""
    points = hint.get("points", [[hint.get("x"), hint.get("y")]])
    radius = hint.get("radius", 0) * max(width, height)
    return {"points": [[x * width, y * height] for x, y in points], "radius": radius, "color": hint["color"]}


def times(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Returns the first call's seconds, the median of the others, and the processor's seconds of these."""
    first = common.timed(work)
    began = time.process_time()
    wall = [common.timed(work) for _ in range(repeats)]
    used = (time.process_time() - began) / repeats
    return {"first": round(first, 3), "median": round(statistics.median(wall), 3), "processor": round(used, 3)}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--output", type=Path, help="default: experiments/results/hints_time.json")
    asked = parser.parse_args()
    pixels = photo(asked.width, asked.height)
    ab = np.random.default_rng(1).normal(0, 20, (*PLANES, 2)).astype(np.float32)
    seconds = {"no hints": times(lambda: merge(pixels, ab), asked.repeats)}
    for name, hints in CASES.items():
        known = hints_of([scaled(hint, asked.width, asked.height) for hint in hints])
        seconds[name] = times(lambda known=known: paint(pixels, ab, known), asked.repeats)
    result: dict[str, Any] = {"photo": [asked.width, asked.height], "seconds": seconds}
    result |= common.environment(PACKAGES) | {"note": asked.note}
    common.report(result)
    common.save("hints_time", result, output=asked.output)


if __name__ == "__main__":
    main()
