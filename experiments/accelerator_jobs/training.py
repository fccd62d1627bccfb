"""Runs a training that fills a given time: its length follows from the measured rate; weights are saved each minute."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from accelerator_jobs.parts import Weights
from accelerator_jobs.resumable import Resumable
from accelerator_jobs.session import Session
from semcolor_jax.baselines.registry import checked
from semcolor_jax.errors import UserError
from semcolor_jax.training import loop
from semcolor_jax.training.horizon import with_horizon
from semcolor_jax.training.monitor import StepLog, format_metrics
from semcolor_jax.training.scalars import ScalarWriter
from semcolor_jax.training.state import TrainState

SAVE_SECONDS = 60.0
LOG_SECONDS = 2.0
FIXED = 0.03
"""In this last share of the run its end stays fixed."""

_LOGGED = ("loss", "soft", "reg", "scene", "seg", "grad_norm", "learning_rate")


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training."""

    setup: loop.Setup
    variables: dict[str, Any]  # averaged, float32, on the device
    facts: dict[str, Any]  # steps, images, images_per_second, compile_seconds, last_rate


def begin(
    session: Session, config: ConfigDict, *, name: str, resume: Weights | None = None
) -> tuple[loop.Setup, TrainState]:
    """Returns what `training.loop` prepares, in a folder of that name; the weights of `resume` with fresh moments.

    The photos' order continues where `resume` stopped, and so do the places that seed the augmentation.

    Raises:
      UserError: a mistake in the config or the data, no weights for the encoder, or `resume` is of another network.
    """
    config = checked(config)
    if resume:
        config.model.pretrained = False  # all weights are in the parts
    setup, state = loop.prepare(config, session.workdir / name, sources=session.sources(config))
    session.log(f"{name}: {len(setup.source)} photos to train on, {len(setup.validation)} to validate")
    return setup, _resumed(state, resume) if resume else state


def train(
    session: Session,
    setup: loop.Setup,
    state: TrainState,
    *,
    until: float | None = None,
    seconds: float | None = None,
    save: bool = False,
    checkpoints: Resumable | None = None,
) -> Trained:
    """Trains up to a time, or for some seconds, or else for `config.schedule.steps_total` updates.

    The learning rate's two stages fill the run, however long it is.

    The state is donated.

    Args:
      session: logs the progress, and keeps the weights.
      setup: of `begin`.
      state: of `begin`.
      until: when to end, in `session.elapsed`.
      seconds: of training, excluding compilation.
      save: whether to keep the averaged weights once a minute and at the end.
      checkpoints: of a training of `config.schedule.steps_total` updates, which goes on from the last of them.

    Raises:
      UserError: a loss is not finite; or the checkpoints are of another training, or cannot be written.
    """
    before = int(state.step)
    state = checkpoints.restore(state) if checkpoints else state
    first = int(state.step) - before
    if first:
        session.log(f"goes on after {first} updates, from a checkpoint in {setup.workdir}")
    run = _Run(session, setup, until=until, seconds=seconds, save=save, checkpoints=checkpoints, counts=(before, first))
    try:
        return run.to_the_end(state)
    finally:
        run.close()


def new_horizon(done: int, *, planned: int, possible: int) -> int:
    """Returns the length of a run, in updates: those done, and those still possible in the time left.

    A run that is out of time before its planned end takes one more update: the last one uses the lowest rate.
    """
    left = planned - done
    if possible > FIXED * planned or left > 2 * possible:
        return done + max(possible, min(left, 1))
    return planned


class _Run:
    def __init__(
        self,
        session: Session,
        setup: loop.Setup,
        *,
        until: float | None,
        seconds: float | None,
        save: bool,
        checkpoints: Resumable | None,
        counts: tuple[int, int],
    ):
        self._session, self._setup, self._save, self._checkpoints = session, setup, save, checkpoints
        self._before, self._first = counts  # updates of an earlier training, and of this one before this call
        self._until, self._seconds = until, seconds
        self._horizon = setup.config.schedule.steps_total
        self._writer = ScalarWriter(setup.workdir, step=self._first)
        self._pool, self._saving = ThreadPoolExecutor(1), Future[None]()
        self._saving.set_result(None)
        self._compiled: set[Hashable] = set()
        self._compile_seconds = 0.0

    def to_the_end(self, state: TrainState) -> Trained:
        batches, done = self._batches(state), self._first
        step, metrics, log = self._setup.phases[0].step, {}, StepLog()
        start = logged = saved = time.perf_counter()
        while done < self._horizon:
            batch = next(batches)
            before = time.perf_counter()
            state, metrics = step(state, batch)
            if self._is_new(batch):
                jax.block_until_ready(metrics)
                self._compile_seconds += (spent := time.perf_counter() - before)
                start += spent  # compilation is not training
                self._session.log(f"a program for {_shape(batch)} took {spent:.1f} s")
            done += 1
            log.add(done, metrics, host_wait=0.0)
            now = time.perf_counter()
            if done == self._horizon or now - logged >= LOG_SECONDS:
                scalars = log.drain()
                state = self._replan(state, done, elapsed=now - start)
                self._report(done, scalars, rate=(done - self._first) / (now - start))
                logged = time.perf_counter()
            if self._checkpoints and done < self._horizon:
                self._checkpoints.offer(state, done)
            if self._save and now - saved >= SAVE_SECONDS and self._saving.done():
                self._keep(state, done, elapsed=now - start)
                saved = time.perf_counter()
        jax.block_until_ready(state)
        facts = self._facts(done, elapsed=time.perf_counter() - start) | {
            "compile_seconds": round(self._compile_seconds, 1),
            "last_rate": float(metrics["learning_rate"]),
        }
        if self._save:
            self._keep(state, done, elapsed=time.perf_counter() - start)
        return Trained(self._setup, state.averaged_variables, facts)

    def close(self) -> None:
        """Waits for pending saves."""
        self._pool.shutdown()
        self._saving.result()
        self._writer.close()

    def _batches(self, state: TrainState) -> Iterator[Any]:
        """Returns the endless batches, with the first one ready: filling the cache is not training either."""
        begin = time.perf_counter()
        batches = loop.training_batches(self._setup, state)
        first = next(batches)
        self._session.log(f"the first batch was there after {time.perf_counter() - begin:.1f} s")
        return itertools.chain([first], batches)

    def _is_new(self, batch: Any) -> bool:
        known = _shape(batch) in self._compiled
        self._compiled.add(_shape(batch))
        return not known

    def _replan(self, state: TrainState, done: int, *, elapsed: float) -> TrainState:
        """Moves the end of the run as the rate so far predicts."""
        if self._until is not None:
            left = self._until - self._session.elapsed
        elif self._seconds is not None:
            left = self._seconds - elapsed
        else:
            return state
        self._horizon = new_horizon(done, planned=self._horizon, possible=round(left * done / elapsed))
        return dataclasses.replace(state, opt_state=with_horizon(state.opt_state, self._horizon))

    def _report(self, done: int, scalars: dict[str, float], *, rate: float) -> None:
        images = rate * self._setup.config.data.batch_size
        self._writer.write(done, scalars | {"images_per_second": images})
        text = format_metrics(scalars, _LOGGED)
        self._session.log(f"step {done} of {self._horizon}  {images:.0f} images/s  {text}")

    def _keep(self, state: TrainState, done: int, *, elapsed: float) -> None:
        """Saves the averaged weights in the background, after the last save, whose failure must not cost this one."""
        if error := self._saving.exception():
            self._session.log(f"the last save failed: {error}")
        variables = snapshot(state.averaged_variables)
        facts = self._facts(done, elapsed=elapsed)
        self._saving = self._pool.submit(
            lambda: self._session.save_weights(jax.device_get(variables), config=self._setup.config, facts=facts)
        )

    def _facts(self, done: int, *, elapsed: float) -> dict[str, Any]:
        """Returns the counts of the whole training; of a resumed one, the seconds are those since then."""
        batch_size = self._setup.config.data.batch_size
        return {
            "steps": self._before + done,
            "images": done * batch_size,
            "seconds": round(elapsed, 1),
            "images_per_second": round((done - self._first) * batch_size / elapsed, 1),
        }


@jax.jit
def snapshot(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns copies, because the step donates the state: parameters in 16 bits, which variances can exceed."""
    params = jax.tree.map(lambda array: array.astype(jnp.float16), variables["params"])
    return {"params": params, "batch_stats": jax.tree.map(jnp.copy, variables["batch_stats"])}


def _shape(batch: Any) -> Hashable:
    """Returns what determines a batch's program: the size of its crops."""
    return tuple(batch.crops) if hasattr(batch, "crops") else batch["image"].shape[1:3]


def _resumed(state: TrainState, weights: Weights) -> TrainState:
    wanted = {"params": state.params, "batch_stats": state.batch_stats}
    shapes, given = (jax.tree.map(np.shape, tree) for tree in (wanted, weights.variables))
    if shapes != given:
        raise UserError(
            f"the saved weights are of another network, {weights.config.model.to_dict()}, than this config's."
        )

    def put(tree: Any, like: Any) -> Any:
        return jax.tree.map(lambda new, old: jax.device_put(jnp.array(new, old.dtype), old.sharding), tree, like)

    params, stats = weights.variables["params"], weights.variables["batch_stats"]
    return dataclasses.replace(
        state,
        step=jax.device_put(jnp.asarray(weights.facts["steps"], jnp.int32), state.step.sharding),
        params=put(params, state.params),
        batch_stats=put(stats, state.batch_stats),
        ema=put(params, state.ema) if state.ema else {},
    )
