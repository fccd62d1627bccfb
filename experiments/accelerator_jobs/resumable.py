"""Checkpoints of a training of fixed length: stopped at any time, it goes on from the last one, bit for bit."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from semcolor_jax.checkpoints.configs import save_config
from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition, has_checkpoints
from semcolor_jax.training.loop import Setup
from semcolor_jax.training.overview import check_disk
from semcolor_jax.training.resume import check_same_data, check_same_training, position_of
from semcolor_jax.training.state import TrainState

CHECKPOINT_SECONDS = 600.0


class Resumable:
    """The whole state of one training, kept in its work directory while it runs; a context that waits for writes."""

    def __init__(self, setup: Setup, *, every: float = CHECKPOINT_SECONDS):
        """Checks that what lies in `setup.workdir` is of the same training; `every` is in seconds.

        Raises:
          UserError: it is of another, or damaged; or the work directory cannot be written.
        """
        self._setup, self._every = setup, every
        if has_checkpoints(setup.workdir):
            check_same_training(setup.config, setup.workdir)
        self._manager = Checkpoints(setup.workdir, keep=1)
        self._saved = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._manager.close()

    def restore(self, state: TrainState) -> TrainState:
        """Returns the last checkpoint's state; or the given one, of the start, if there is none.

        Raises:
          UserError: the photos are others than when it was saved, or there is no room for checkpoints.
        """
        if self._manager.latest_step() is None:
            save_config(self._setup.workdir, self._setup.config)
            check_disk(state, self._setup.workdir, checkpoints=2)  # the new one is there before the old one goes
            return state
        state, position = self._manager.restore(state)
        check_same_data(position, self._position(int(state.step)), self._setup.workdir)
        return state

    def offer(self, state: TrainState, step: int) -> None:
        """Saves the state after `step` updates, in the background, if the last save is long ago.

        Raises:
          UserError: the disk is full or cannot be written.
        """
        if time.perf_counter() - self._saved >= self._every:
            self._manager.save(state, self._position(step))
            self._saved = time.perf_counter()

    def _position(self, step: int) -> DataPosition:
        return position_of(self._setup.config, self._setup.source, step=step)
