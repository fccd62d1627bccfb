"""Times colouring a 12-megapixel photo from file to file: this project against the usual recipe in PyTorch.

The recipe is the demo of `rz-colorization` on the same file: scikit-image's rgb2lab on the whole photo, eccv16
(random weights, 256 x 256), bilinear upsampling in torch, scikit-image's lab2rgb. Ours is `colorize_files` with
networks of random weights, loaded as released models; training does not change the time. Each case has its own process,
the processes take turns, and both write the same kind of JPEG (quality 95, full-resolution colour).

    pip install -r requirements/bench.txt
    python experiments/benchmarks/inference.py

Without PyTorch and rz-colorization only our own cases are measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from semcolor_jax.errors import UserError

RESULT = common.RESULTS / "inference.json"
PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "torch", "scikit-image", "rz-colorization")
OURS = {"ours, paper's width 64": 64, "ours, width 32": 32, "ours, released network": None}
"""Width of the paper's network by case; None for that of configs/release.py, at its own side."""
RECIPE = "recipe: eccv16, scikit-image"


def write_models(folder: Path) -> dict[str, dict[str, Any]]:
    """Writes our networks, of random weights, as released models; returns the settings of each case."""
    from semcolor_jax.config import default

    cases = {}
    for name, width in OURS.items():
        config = default() if width else common.release_config()
        config.model.width = width or config.model.width
        path = folder / name.replace(" ", "_")
        common.write_random_model(path, config)
        cases[name] = {"model": str(path), "side": config.inference.side}
    return cases


def our_run(source: Path, target: Path, *, model: str) -> Callable[[], None]:
    """Returns a function that colours the file with one of our networks, as the command line does."""
    import semcolor_jax
    from semcolor_jax.cli.allocator import return_large_blocks
    from semcolor_jax.inference.photo_files import colorize_files

    return_large_blocks()
    colorizer = semcolor_jax.load(model)
    return lambda: _discard(colorize_files(colorizer, [source], target))


def recipe_run(source: Path, target: Path) -> Callable[[], None]:
    """Returns the recipe, as in `demo_release.py` of rz-colorization."""
    for name in ("IPython", "matplotlib", "matplotlib.pyplot"):  # imported by the package, not used here
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["IPython"].embed = None  # type: ignore[attr-defined]
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]  # type: ignore[attr-defined]
    import colorizers  # type: ignore[import-not-found]
    import torch  # type: ignore[import-not-found]

    network = colorizers.eccv16(pretrained=False).eval()

    def run() -> None:
        photo = colorizers.load_img(source)
        lightness, small = colorizers.preprocess_img(photo, HW=(256, 256))
        with torch.no_grad():
            rgb = colorizers.postprocess_tens(lightness, network(small))
        pixels = Image.fromarray((np.clip(rgb, 0, 1) * 255).astype(np.uint8))
        pixels.save(target / source.name, quality=95, subsampling=0)

    return run


def _discard(_: Any) -> None:
    return None


def stages(source: Path, target: Path) -> dict[str, float]:
    """Returns the seconds of each of our stages except the network, medians of five."""
    from semcolor_jax.inference.colorize import shrink
    from semcolor_jax.inference.strips import merge
    from semcolor_jax.photos.files import read_photo, write_image

    photo = read_photo(source)
    small = shrink(photo, side=256)
    parts: dict[str, Callable[[], Any]] = {
        "decode": lambda: read_photo(source),
        "shrink": lambda: shrink(photo, side=256),
        "merge, every pixel in gamut": lambda: merge(photo, np.zeros((*small.shape[:2], 2), np.float32)),
        "merge, random colours": lambda: merge(photo, _random_colors(small.shape[0], small.shape[1])),
        "encode": lambda: write_image(target / "stage.jpg", photo),
    }
    for part in parts.values():
        part()
    return {name: round(statistics.median(common.timed(part) for _ in range(5)), 3) for name, part in parts.items()}


def _random_colors(height: int, width: int) -> np.ndarray:
    """Returns smooth ab of 20 units' standard deviation."""
    coarse = np.random.default_rng(0).normal(0, 20, (2, 16, 22)).astype(np.float32)
    planes = [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC)) for p in coarse]
    return np.stack(planes, axis=-1)


def measure(*, width: int, height: int, repeats: int) -> dict[str, Any]:
    """Measures every case in turn, `repeats` times, and ours by stages."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "photo.jpg"), Path(folder, "out")
        target.mkdir()
        common.write_photo(source, width=width, height=height)
        files = {"source": str(source), "target": str(target)}
        cases = {name: files | case for name, case in write_models(Path(folder)).items()}
        sides = {name: case["side"] for name, case in cases.items()}
        cases["ours, stages"] = {**files, "stages": True}
        if all(importlib.util.find_spec(package) for package in ("torch", "colorizers")):
            cases[RECIPE] = dict(files)
        with common.workers(__file__, cases) as running:
            by_stage = running.pop("ours, stages").ask("run")
            first = common.interleave(running, repeats=1, command="run")
            answers = common.interleave(running, repeats=repeats)
            peak = {name: worker.ask("memory")["peak_mb"] for name, worker in running.items()}
    result: dict[str, Any] = {"cases": {}}
    for name in answers:
        seconds = [answer["seconds"] for answer in answers[name]]
        case: dict[str, Any] = {
            "side": sides.get(name, 256),
            "seconds": round(statistics.median(seconds), 3),
            "first_call_seconds": round(first[name][0]["seconds"], 3),
            "peak_mb": round(peak[name]),
            "repeats": [round(value, 3) for value in seconds],
        }
        if RECIPE in answers:
            recipe = [answer["seconds"] for answer in answers[RECIPE]]
            case["times_faster_than_recipe"] = round(common.median_ratio(recipe, seconds), 2)
            case["memory_of_recipe"] = round(peak[name] / peak[RECIPE], 3)
        result["cases"][name] = case
        print(json.dumps({"case": name, **case}), flush=True)
    return {**result, "our_stages_seconds": by_stage, "photo": {"width": width, "height": height}}


def serve(settings: dict[str, Any]) -> None:
    """Answers as the worker of one case."""
    source, target = Path(settings["source"]), Path(settings["target"])
    if settings.get("stages"):
        common.serve({"run": lambda: stages(source, target)})
        return
    model = settings.get("model")
    run = recipe_run(source, target) if model is None else our_run(source, target, model=model)
    common.serve({"run": lambda: {"seconds": common.timed(run), "at": time.time()}})


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    from semcolor_jax.files import write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(json.loads(args.worker))
        return
    result = measure(width=args.width, height=args.height, repeats=args.repeats) | common.environment(PACKAGES)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, result)
    print(f"\n{'':30}{'seconds':>9}{'first':>9}{'peak MB':>9}{'x faster':>10}")
    for name, case in result["cases"].items():
        faster = case.get("times_faster_than_recipe", float("nan"))
        print(f"{name:30}{case['seconds']:9.2f}{case['first_call_seconds']:9.2f}{case['peak_mb']:9}{faster:10.2f}")
    print("our stages, in seconds:", json.dumps(result["our_stages_seconds"]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
