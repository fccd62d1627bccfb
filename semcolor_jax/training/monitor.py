"""Bookkeeping of the training loop: cadences, step losses and stop requests."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

import jax
import numpy as np

from semcolor_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Every:
    """A cadence: due at each multiple of `steps`, and once more at the end of the run."""

    steps: int

    def due(self, step: int, *, last: int) -> bool:
        """Whether the action is due after `step` updates of a run of `last`."""
        return step > 0 and (step % self.steps == 0 or step == last)


class StepLog:
    """Collects the metrics of every step and averages them on demand.

    Values stay on the device until `drain`, which the loop calls at its logging cadence and before every checkpoint:
    a state with a non-finite loss is never saved. Steps are dispatched ahead of the device, but one at the most:
    enough to keep it busy, and the progress bar stays honest.
    """

    def __init__(self):
        self._steps: list[int] = []
        self._metrics: list[Mapping[str, jax.Array]] = []
        self._host_wait = 0.0
        self._since = time.perf_counter()

    def add(self, step: int, metrics: Mapping[str, jax.Array], *, host_wait: float) -> None:
        """Records one step: its metrics and how many seconds the loop waited for its batch."""
        if self._metrics:
            jax.block_until_ready(self._metrics[-1])
        self._steps.append(step)
        self._metrics.append(metrics)
        self._host_wait += host_wait

    def drain(self) -> dict[str, float]:
        """Returns the means since the last call, with "steps_per_second" and "host_wait", a fraction of the time.

        Raises:
          UserError: some step's loss or gradient is not finite; the sentence names the first such step and loss.
        """
        if not self._steps:
            return {}
        rows = jax.device_get(self._metrics)
        for step, row in zip(self._steps, rows, strict=True):
            _check_finite(step, row)
        seconds = time.perf_counter() - self._since
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        means["learning_rate"] = float(rows[-1]["learning_rate"])
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


def _check_finite(step: int, row: Mapping[str, Any]) -> None:
    bad = [name for name, value in row.items() if not np.isfinite(value)]
    # The joint loss is not finite because one of its terms is: name the term.
    bad = [name for name in bad if name not in ("loss", "grad_norm")] or bad
    if bad:
        raise UserError(
            f"Training diverged at step {step}: {', '.join(f'{name} is {float(row[name])}' for name in bad)}; lower "
            "config.schedule.stage1_rate and cycle_high, or set config.optimizer.clip_norm, and start again: the "
            "work directory's checkpoints are from before that step."
        )


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag, so that the loop can save and leave between two steps.

    A second signal interrupts at once.
    """

    def __init__(self):
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.requested = True
        signal.signal(number, self._previous[number])


def timed_next(iterator: Iterator[Any]) -> tuple[Any, float]:
    """Returns the iterator's next item and the seconds that it took."""
    start = time.perf_counter()
    item = next(iterator)
    return item, time.perf_counter() - start


def format_metrics(metrics: Mapping[str, float], names: Iterable[str]) -> str:
    """Returns "name value" pairs for a log line, for the names that are present."""
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)
