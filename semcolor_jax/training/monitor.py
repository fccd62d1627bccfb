"""Bookkeeping of the training loop: cadences, step losses, remaining time and stop requests."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from semcolor_jax.errors import INTERRUPTED, PREEMPTED, UserError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Every:
    """A cadence: due at each multiple of `steps`, and once more at the end of the run."""

    steps: int

    def due(self, step: int, *, last: int) -> bool:
        """Whether the action is due after `step` updates of a run of `last`."""
        return step > 0 and (step % self.steps == 0 or step == last)


class StepLog:
    """Collects the metrics of every step and averages them on demand.

    The last step's values stay on the device until `drain`, which the loop calls at its logging cadence and before
    every checkpoint. At most one step is dispatched ahead of the device: enough to keep it busy, and the progress bar
    stays honest.
    """

    def __init__(self, *, max_skipped: int = 10):
        """Prepares an empty log.

        Args:
          max_skipped: `config.train.max_skipped`: this many skipped batches in a row end the run.
        """
        self._max_skipped = max_skipped
        self._steps: list[int] = []
        self._metrics: list[Mapping[str, jax.Array | np.ndarray]] = []
        self._host_wait = 0.0
        self._since = time.perf_counter()

    def add(self, step: int, metrics: Mapping[str, jax.Array], *, host_wait: float) -> None:
        """Records one step: its metrics and how many seconds the loop waited for its batch."""
        if self._metrics:  # waits for the step before; fetched now, while the device computes, and not all at once
            self._metrics[-1] = jax.device_get(self._metrics[-1])
        self._steps.append(step)
        self._metrics.append(metrics)
        self._host_wait += host_wait

    def drain(self) -> dict[str, float]:
        """Returns the means since the last call, with "steps_per_second" and "host_wait", a fraction of the time.

        Skipped batches are logged but only count in the mean of the learning rate; "skipped" is the run's total so far.

        Raises:
          UserError: too many batches in a row were skipped; the sentence names the first such step and loss.
        """
        if not self._steps:
            return {}
        rows: list[dict[str, Any]] = [dict(row) for row in jax.device_get(self._metrics)]
        in_a_row = [row.pop("skipped_in_a_row", 0) for row in rows]
        self._check_skips(rows, in_a_row)
        seconds = time.perf_counter() - self._since
        good = [row for row, skipped in zip(rows, in_a_row, strict=True) if not skipped]
        means = {name: float(np.mean([row[name] for row in good])) for name in rows[0]} if good else {}
        means |= {name: float(rows[-1][name]) for name in ("learning_rate", "skipped") if name in rows[-1]}
        means["steps_per_second"] = len(rows) / seconds
        means["host_wait"] = self._host_wait / seconds
        self.restart()
        return means

    def restart(self) -> None:
        """Discards what was collected and restarts the clock, so that evaluation does not count as training time."""
        self._steps.clear()
        self._metrics.clear()
        self._host_wait = 0.0
        self._since = time.perf_counter()

    def _check_skips(self, rows: Sequence[Mapping[str, Any]], in_a_row: Sequence[float]) -> None:
        skipped = [index for index, count in enumerate(in_a_row) if count]
        if not skipped:
            return
        first = skipped[0]
        cause = f"step {self._steps[first]}: {_not_finite(rows[first])}"
        if max(in_a_row) >= self._max_skipped:
            raise UserError(
                f"Training diverged at {cause}, and {int(max(in_a_row))} batches in a row were skipped "
                "(config.train.max_skipped); lower config.schedule.stage1_rate and cycle_high, or set "
                "config.optimizer.clip_norm, and start again from a checkpoint before that step."
            )
        logger.warning("Skipped %d of %d batches, the first at %s.", len(skipped), len(rows), cause)


def _not_finite(row: Mapping[str, Any]) -> str:
    bad = [name for name, value in row.items() if not np.isfinite(value)]
    # The joint loss is not finite because one of its terms is: name the term.
    bad = [name for name in bad if name not in ("loss", "grad_norm")] or bad
    return ", ".join(f"{name} is {float(row[name])}" for name in bad)


class Pace:
    """Estimates once, after a run's first steps, how long the rest will take.

    Attributes:
      first: steps done before the run.
      last: steps done at its end.
    """

    _COMPILING, _TIMED = 1, 5  # the first step waits for the compiler

    def __init__(self, first: int, last: int):
        self.first, self.last = first, last
        self._since = 0.0

    def sentence(self, step: int, *, now: float) -> str | None:
        """Returns the estimate after the step at which it is due, else None.

        Args:
          step: the one just done.
          now: seconds on any clock.
        """
        done = step - self.first
        if done == self._COMPILING:
            self._since = now
        if done != self._COMPILING + self._TIMED or step == self.last:
            return None
        seconds = (now - self._since) / self._TIMED
        minutes = (self.last - step) * seconds / 60
        left = f"{minutes:.0f} minutes" if minutes >= 2 else f"{60 * minutes:.0f} seconds"
        return f"{seconds:.2g} s a step: about {left} to go, and the validations"


class StopRequest:
    """Turns SIGINT and SIGTERM into an exit code, so that the loop can save and leave between two steps.

    A second signal interrupts at once. Several hosts leave at the same step, whichever of them got the signal: JAX's
    preemption service, which handles SIGTERM itself, agrees on it.
    """

    def __init__(self):
        self._code: int | None = None
        self._together = jax.process_count() > 1
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT,) if self._together else (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def code(self, step: int) -> int | None:
        """Returns the exit code to leave with after this step, or None to go on; call it after every step."""
        if self._together and multihost_utils.reached_preemption_sync_point(step):
            return self._code or PREEMPTED
        return None if self._together else self._code

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._code = INTERRUPTED if number == signal.SIGINT else PREEMPTED
        signal.signal(number, self._previous[number])
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)


def timed_next(iterator: Iterator[Any]) -> tuple[Any, float]:
    """Returns the iterator's next item and the seconds that it took."""
    start = time.perf_counter()
    item = next(iterator)
    return item, time.perf_counter() - start


def format_metrics(metrics: Mapping[str, float], names: Iterable[str]) -> str:
    """Returns "name value" pairs for a log line, for the names that are present."""
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)
