"""Kills small trainings with SIGKILL at random moments, resumes them, and compares their results bit for bit.

python experiments/soak/kills.py [--trainings 10] [--kills 3] [--seed 0] [--workdir runs/kills]  (or: make soak)

Each training is killed `--kills` times, one process after the other. A kill is drawn by `--seed`: one of the remaining
phases (starting, compiling, stepping, evaluating, saving), one place where an uninterrupted training enters it, and a
moment between its beginning and end there. Where it really fell is read from the dead process's traces: its last note,
and a half-written checkpoint if there is one. At the end, weights, statistics, optimizer, counts and logged losses must
equal those of the uninterrupted training, to the last bit; otherwise the table says "no" and the exit code is 1.
Results: `experiments/results/kills.json` and `kills.md`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from semcolor_jax.checkpoints.training_runs import read_arrays
from semcolor_jax.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results"
TRACED = Path(__file__).with_name("traced.py")
AIMS = ("starting", "compiling", "stepping", "evaluating", "saving")
PARTS = ("params", "batch_stats", "opt_state", "step", "skips")
CLOCKS = ("steps_per_second", "host_wait")


class Event(NamedTuple):
    """A line of a training's trace."""

    time: float
    phase: str
    step: int


def start(workdir: Path, *arguments: str, cache: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts a traced training; its output goes to WORKDIR.log."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    if cache:
        environment |= {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        environment |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    workdir.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRACED), str(workdir), *arguments]
    with workdir.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def finish(process: subprocess.Popen[bytes], workdir: Path, *, code: int = 0) -> None:
    """Waits for a training's end. Raises `RuntimeError` if it is not the expected one."""
    if process.wait() != code:
        raise RuntimeError(
            f"{workdir} ended with {process.returncode}:\n{workdir.with_suffix('.log').read_text()[-3000:]}"
        )


def events(workdir: Path) -> list[Event]:
    """Returns the trace so far, of all processes; only complete lines."""
    path = workdir / "trace"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Event(float(when), phase, int(step)) for when, phase, step in map(str.split, lines)]


def steps_in(workdir: Path) -> list[int]:
    """Returns the steps with complete checkpoints."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())


def half_written(workdir: Path) -> str:
    """Returns the step of a checkpoint that was being written, or ""."""
    names = [path.name for path in (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")]
    return ", ".join(sorted(name.partition(".")[0] for name in names))


def differences(workdir: Path, other: Path) -> list[str]:
    """Returns where the newest checkpoints and logs of two trainings differ in any bit, ignoring the clock."""
    step = steps_in(other)[-1]
    if steps_in(workdir)[-1:] != [step]:
        return [f"steps {steps_in(workdir)} and {steps_in(other)}"]
    ours, theirs = (read_arrays(run.absolute() / f"checkpoints/{step}/state", names=PARTS) for run in (workdir, other))
    found = [f"{part} is missing" for part in PARTS if part not in theirs]
    mine = dict(jax.tree_util.tree_leaves_with_path(ours))
    for path, array in jax.tree_util.tree_leaves_with_path(theirs):
        same = path in mine and np.asarray(mine[path]).tobytes() == np.asarray(array).tobytes()
        found += [] if same else [jax.tree_util.keystr(path)]
    if _log(workdir) != _log(other):
        found.append("metrics.jsonl")
    return found


def _log(workdir: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]


def lengths(trace: Sequence[Event]) -> dict[tuple[str, int], float]:
    """Returns how long each phase of a training lasts, in seconds, by its name and step."""
    written = {event.step: event for event in trace if event.phase == "written"}  # beside the next steps
    ends = [
        written[event.step] if event.phase == "saving" else following for event, following in itertools.pairwise(trace)
    ]
    return {(event.phase, event.step): end.time - event.time for event, end in zip(trace, ends, strict=False)}


def aim(rng: random.Random, reference: dict[tuple[str, int], float], *, resumed: int) -> tuple[str, int, float]:
    """Draws phase, step, and seconds after that phase's beginning, for a process that resumes from step `resumed`."""
    left = [("starting", 0), ("compiling", resumed + 1)]
    left += [(phase, step) for phase, step in reference if phase == "stepping" and step > resumed + 1]
    left += [(phase, step) for phase, step in reference if phase in ("evaluating", "saving") and step > resumed]
    phase = rng.choice([phase for phase in AIMS if any(phase == other for other, _ in left)])
    step = rng.choice([step for other, step in left if other == phase])
    seconds = reference.get((phase, step)) or reference["compiling", 1]
    return phase, step, rng.random() * seconds


def killed(
    workdir: Path, process: subprocess.Popen[bytes], aimed: tuple[str, int, float], *, before: int
) -> dict[str, Any]:
    """Kills a process at the aimed moment; returns where that fell. `before`: events of the processes before it."""
    phase, step, seconds = aimed
    while not any((event.phase, event.step) == (phase, step) for event in events(workdir)[before:]):
        if process.poll() is not None:
            raise RuntimeError(f"{workdir} ended before {phase} {step}: see {workdir.with_suffix('.log')}")
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    finish(process, workdir, code=-signal.SIGKILL)
    last = events(workdir)[-1]
    return {
        "aimed": f"{phase} {step} + {1000 * seconds:.0f} ms",
        "fell": f"{last.phase} {last.step}",
        "half_written": half_written(workdir),
        "goes_on_from": max(steps_in(workdir), default=0),
    }


def trainings(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Trains, kills and compares; yields one row for each kill."""
    cache, whole, workdir = options.workdir / "xla", options.workdir / "whole", options.workdir
    for run in (workdir / "first", whole):  # the first fills the cache of compiled programs
        finish(start(run, cache=cache), run)
    if different := differences(workdir / "first", whole):
        raise RuntimeError(f"two uninterrupted trainings differ: {different}")
    reference, rng = lengths(events(whole)), random.Random(options.seed)  # noqa: S311
    for number in range(1, options.trainings + 1):
        run, rows = workdir / f"killed{number}", []
        for kill in range(1, options.kills + 1):
            before, resumed = len(events(run)), max(steps_in(run), default=0)
            aimed = aim(rng, reference, resumed=resumed)
            row = killed(run, start(run, cache=cache), aimed, before=before)
            rows.append({"training": number, "kill": kill, **row})
            print(rows[-1], flush=True)
        finish(start(run, cache=cache), run)
        different = differences(run, whole)
        print(f"training {number}: {different or 'equal'}", flush=True)
        yield from (row | {"equal": not different, "differs": different} for row in rows)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the rows as Markdown."""
    lines = [
        "| training | kill | aimed at | fell in | checkpoint being written | went on from step | end bit-equal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row["training"], row["kill"], row["aimed"], row["fell"], row["half_written"] or "none")
        lines.append(f"| {' | '.join(map(str, cells))} | {row['goes_on_from']} | {'yes' if row['equal'] else 'no'} |")
    return "\n".join(lines)


def main() -> int:
    """Runs all and writes the results; returns 1 if any result differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "kills")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    shutil.rmtree(options.workdir, ignore_errors=True)
    rows = list(trainings(options))
    equal, during = sum(row["equal"] for row in rows), sum(bool(row["half_written"]) for row in rows)
    write_json(options.results / "kills.json", {"seed": options.seed, "rows": rows})
    score = f"{len(rows)} kills, seed {options.seed}: {equal} ended bit-equal"
    text = f"{score}; {during} fell while a checkpoint was written."
    write_text(options.results / "kills.md", f"{text}\n\n{table(rows)}\n")
    print(text)
    return int(equal < len(rows))


if __name__ == "__main__":
    sys.exit(main())
