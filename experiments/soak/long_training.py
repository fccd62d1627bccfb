"""Trains a small network for thousands of steps, with validation and checkpoints, and watches its memory.

python experiments/soak/long_training.py [--steps 5000] [--workdir runs/long_training]
(or: make soak)

The training is that of `traced.py`, with a checkpoint every 250 steps and an evaluation every 375; the resident memory
is noted at every step. `memory.summary` defines flat, and the content of `experiments/results/long_training.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from unittest import mock

from memory import resident_mb, summary

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "experiments" / "results" / "long_training.json"
CADENCE = 250


class Memory:
    """Replaces the trace of `traced.py`: records the memory at each step."""

    def __init__(self):
        self.megabytes: list[float] = []

    def note(self, phase: str, step: int) -> None:
        """Records the memory when a step begins."""
        if phase in ("compiling", "stepping"):
            self.megabytes.append(resident_mb())


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
