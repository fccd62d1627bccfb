"""Runs a small training that logs its phases, and kills itself with SIGKILL on request.

python experiments/soak/traced.py WORKDIR [--steps 24] [--kill PHASE:STEP] [--cadence 4]

WORKDIR/trace gets a line "SECONDS PHASE STEP" as each phase begins: "starting", "compiling" (the first step of
a process), "stepping", "evaluating", "saving" (the files are written beside the next steps), "written" (all files are
there, under a temporary name and without the manifest), "done". The times are those of `time.time`. `--kill` is for
tests: the process dies when that phase and step begin, whatever the clock. The network is small, and the photos come
with the dependencies.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from ml_collections import ConfigDict

PHASES = ("starting", "compiling", "stepping", "evaluating", "saving", "written", "done")


class Notes(Protocol):
    """An observer of a training's phases."""

    def note(self, phase: str, step: int) -> None:
        """Called as each phase begins."""


class Trace:
    """Writes a training's phases to a file."""

    def __init__(self, workdir: Path, *, kill: str = ""):
        """Opens WORKDIR/trace; `kill` is "PHASE:STEP", or "" for a run to the end."""
        workdir.mkdir(parents=True, exist_ok=True)
        self._file = os.open(workdir / "trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._kill = kill

    def note(self, phase: str, step: int) -> None:
        """Writes one line, unbuffered, so that it survives whatever happens to the process."""
        os.write(self._file, f"{time.time():.6f} {phase} {step}\n".encode())
        if self._kill == f"{phase}:{step}":
            os.kill(os.getpid(), signal.SIGKILL)


def small_config(*, steps: int, cadence: int) -> ConfigDict:
    """Returns a training of `steps` steps, with a checkpoint at every `cadence`-th and an evaluation at others."""
    from semcolor_jax.config import default

    config = default()
    config.name = "traced"
    config.model.width, config.model.scene_features = 2, 8
    config.loss.heads = "plain"
    config.data.source, config.data.cache = "embedded", "device"
    config.data.short_side, config.data.image_size, config.data.batch_size = 20, 16, 4
    config.data.prior_images = 8
    config.schedule.kind, config.schedule.steps_total = "steps", steps
    config.train.log_every_steps, config.train.checkpoint_every_steps = cadence, cadence
    config.train.eval_every_steps = cadence + cadence // 2
    config.train.loss_samples = config.train.eval_samples = 4
    config.train.grid_samples = 1
    return config


def train(config: ConfigDict, workdir: Path, trace: Notes) -> None:
    """Trains as `semcolor train` does, with a note of each phase."""
    from semcolor_jax.checkpoints import checksums, training_runs
    from semcolor_jax.training import loop

    make_step, evaluate, save = loop.make_train_step, loop._evaluate, training_runs.Checkpoints.save
    write_manifest = checksums.write_manifest

    def make_noting_step(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        step, first = make_step(*args, **kwargs), []

        def noting_step(state: Any, batch: Any) -> Any:
            trace.note("stepping" if first else "compiling", int(state.step) + 1)
            first.append(True)
            return step(state, batch)

        return noting_step

    def noting_evaluate(setup: Any, state: Any, step: int) -> Any:
        trace.note("evaluating", step)
        return evaluate(setup, state, step)

    def noting_save(manager: Any, state: Any, position: Any, **kwargs: Any) -> None:
        trace.note("saving", position.step)
        save(manager, state, position, **kwargs)

    def noting_manifest(folder: Path) -> None:
        trace.note("written", int(folder.name.partition(".")[0]))
        write_manifest(folder)

    with (
        mock.patch.object(loop, "make_train_step", make_noting_step),
        mock.patch.object(loop, "_evaluate", noting_evaluate),
        mock.patch.object(training_runs.Checkpoints, "save", noting_save),
        mock.patch.object(checksums, "write_manifest", noting_manifest),
    ):
        loop.train(config, workdir)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--cadence", type=int, default=4)
    parser.add_argument("--kill", default="")
    options = parser.parse_args()
    trace = Trace(options.workdir, kill=options.kill)
    trace.note("starting", 0)
    with mock.patch("semcolor_jax.training.scalars._tensorboard", new=no_events):
        train(small_config(steps=options.steps, cadence=options.cadence), options.workdir, trace)
    trace.note("done", options.steps)


def no_events(workdir: Path) -> None:
    """Replaces tensorboard's events: their names contain the time, and TensorFlow takes seconds to load."""


if __name__ == "__main__":
    main()
