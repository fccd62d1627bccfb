"""Shared code of the benchmarks: cases that run in their own processes, their times and memory, and the result file.

Every case has a worker process, so that its threads, allocator and peak memory are its own. Workers stay alive and take
turns, so that a slow spell of the machine affects all of them.

A worker is a script that ends in `serve(setup)`; it reads one JSON command per line and answers each with one line.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import resource
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semcolor_jax.errors import UserError
from semcolor_jax.files import write_json

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"


class Worker:
    """A running case."""

    def __init__(self, script: str | os.PathLike[str], settings: Mapping[str, Any]):
        """Starts the script with the settings as its one argument; `wait` tells when it is ready."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.settings = dict(settings)
        self._process = subprocess.Popen(
            [sys.executable, os.fspath(script), "--worker", json.dumps(self.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def wait(self) -> dict[str, Any]:
        """Returns the next answer. Raises `UserError` if the worker has ended instead."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print to the same stream
                return json.loads(line)
        raise UserError(f"The worker {self.settings} ended with exit code {self._process.wait()}; see above.")

    def ask(self, command: str) -> dict[str, Any]:
        """Sends one command and returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command}) + "\n")
        self._process.stdin.flush()
        return self.wait()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def workers(script: str | os.PathLike[str], cases: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Worker]]:
    """Starts one worker per case, one after the other, and ends them all."""
    running: dict[str, Worker] = {}
    try:
        for name, settings in cases.items():
            running[name] = Worker(script, settings)
            running[name].wait()
        yield running
    finally:
        for worker in running.values():
            worker.close()


def serve(commands: Mapping[str, Callable[[], Mapping[str, Any]]]) -> None:
    """Answers commands until the standard input ends: those given, and "memory" with the peak so far in MB."""
    print(json.dumps({"ready": True}), flush=True)
    known = {"memory": lambda: {"peak_mb": peak_memory_mb()}, **commands}
    for line in sys.stdin:
        print(json.dumps(known[json.loads(line)["command"]]()), flush=True)


def timed(function: Callable[[], Any]) -> float:
    """Returns how many seconds one call takes. The function must not return before its work is done."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory_mb() -> float:
    """Returns this process's peak resident memory, in MB (10^6 bytes)."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e6


def interleave(running: Mapping[str, Worker], *, repeats: int, command: str = "run") -> dict[str, list[dict[str, Any]]]:
    """Asks every worker in turn, `repeats` times; returns the answers by case, in the order of the rounds."""
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in running}
    for _ in range(repeats):
        for name, worker in running.items():
            answers[name].append(worker.ask(command))
    return answers


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Returns the median over rounds of the ratio within a round, which slow spells of the machine do not affect."""
    return statistics.median(n / d for n, d in zip(numerator, denominator, strict=True))


def write_random_model(folder: Path, config: Any) -> None:
    """Writes a network with random weights as a released model: training does not change its speed."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from semcolor_jax.baselines.build import build_model
    from semcolor_jax.checkpoints.releases import save_release

    config.model.pretrained = False
    config.data.source, config.data.mix = "embedded", ""
    model, rng = build_model(config), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False))

    def weights(like: Any) -> np.ndarray:
        *inputs, _ = like.shape
        if not inputs:  # biases and statistics
            return np.ones(like.shape, np.float32)
        return rng.standard_normal(like.shape, np.float32) * np.float32(np.sqrt(2 / np.prod(inputs)))

    save_release(jax.tree.map(weights, dict(shapes)), folder, config=config)


def release_config() -> Any:
    """Returns the config of the network that is released, configs/release.py."""
    return runpy.run_path(str(ROOT / "configs" / "release.py"))["get_config"]()


def write_photo(path: Path, *, width: int, height: int) -> None:
    """Writes a JPEG of that size: scikit-image's "coffee" resized, with a camera's noise."""
    import numpy as np
    from PIL import Image
    from skimage import data

    large = Image.fromarray(data.coffee()).resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 1)).astype(np.float32)
    pixels = np.clip(np.rint(np.asarray(large) + noise), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=92)


def environment(packages: Sequence[str]) -> dict[str, Any]:
    """Returns cores and package versions, for the result file."""
    return {"cores": os.cpu_count(), "versions": {package: version(package) for package in packages}}


def version(package: str) -> str:
    """Returns a package's version or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def report(row: Mapping[str, Any]) -> None:
    """Prints one JSON line."""
    print(json.dumps(row), flush=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows under a header, the first column left-aligned."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([row[0].ljust(len(first)), *others]))


def save(name: str, result: Mapping[str, Any], *, output: Path | None = None) -> Path:
    """Writes a result, to experiments/results/NAME.json unless told otherwise."""
    path = output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return path
