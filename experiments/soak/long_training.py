"""Trains a small network for thousands of steps, with validation and checkpoints, and watches its memory.

python experiments/soak/long_training.py [--steps 5000] [--workdir runs/long_training]
(or: make soak)

The training is that of `traced.py`, with a checkpoint every 250 steps and an evaluation every 375; the resident memory
is noted at every step. The first fifth is left out: caches fill, and every program is compiled by then. Flat means
that the medians of the second and the last fifth differ by less than 1 %. `experiments/results/long_training.json` has
both, what a least-squares line through all of it adds per 1,000 steps, and a value for each fiftieth of the run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "experiments" / "results" / "long_training.json"
CADENCE = 250
FLAT = 0.01
"""By how much of itself the memory may grow."""


def resident_mb() -> float:
    """Returns the resident memory of this process, in MB of 10^6 bytes. Linux alone."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Memory:
    """Stands in for the trace of `traced.py`: keeps the memory at each step."""

    def __init__(self):
        self.megabytes: list[float] = []

    def note(self, phase: str, step: int) -> None:
        """Records the memory where a step begins."""
        if phase in ("compiling", "stepping"):
            self.megabytes.append(resident_mb())


def summary(megabytes: Sequence[float]) -> dict[str, Any]:
    """Returns what the docstring says about a run's memory, step by step."""
    fifth = len(megabytes) // 5
    after = np.asarray(megabytes[fifth:])
    early, late = float(np.median(after[:fifth])), float(np.median(after[-fifth:]))
    slope = np.polyfit(np.arange(len(after)) / 1000, after, 1)[0]
    return {
        "steps": len(megabytes),
        "second_fifth_mb": round(early, 1),
        "last_fifth_mb": round(late, 1),
        "mb_per_1000_steps": round(float(slope), 2),
        "flat": bool(late < (1 + FLAT) * early),
        "megabytes": [round(value, 1) for value in megabytes[:: max(1, len(megabytes) // 50)]],
    }


def main() -> int:
    """Trains and writes the result; 1 if the memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "long_training")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from traced import no_events, small_config, train

    from semcolor_jax.files import write_json

    shutil.rmtree(options.workdir, ignore_errors=True)
    memory, begun = Memory(), time.perf_counter()
    with mock.patch("semcolor_jax.training.scalars._tensorboard", new=no_events):
        train(small_config(steps=options.steps, cadence=CADENCE), options.workdir, memory)
    result = summary(memory.megabytes) | {"minutes": round((time.perf_counter() - begun) / 60, 1)}
    write_json(options.output, result)
    print({name: value for name, value in result.items() if name != "megabytes"})
    return int(not result["flat"])


if __name__ == "__main__":
    sys.exit(main())
