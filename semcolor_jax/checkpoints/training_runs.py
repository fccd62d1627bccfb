"""Writes and reads a work directory's checkpoints, the train state and the data position, with orbax.

Layout: `WORKDIR/config.json` (the config it was trained with), `WORKDIR/prior.json` (the colour prior),
`WORKDIR/checkpoints/STEP/` (orbax: `state`, `position`, and `metrics`, empty where that step was not evaluated; and
`manifest.json` with a checksum of every file). The newest `keep` checkpoints are kept, and the best one. A checkpoint
appears with its manifest in one rename. Damaged ones are moved to `WORKDIR/damaged_checkpoints/` when a training
resumes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from semcolor_jax.checkpoints import checksums
from semcolor_jax.checkpoints.checksums import DamagedError
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.ranking import BEST, LATEST, Ranking
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

State = TypeVar(
    "State", bound=Any
)  # of the training: a dataclass with the fields params, batch_stats, ema, opt_state, step

_FOLDER = "checkpoints"
_DAMAGED = "damaged_checkpoints"
_ADDED = ("skips",)  # parts of the state that checkpoints of earlier versions lack
_TEMPORARY = ".orbax-checkpoint-tmp"


@dataclasses.dataclass(frozen=True)
class DataPosition:
    """A checkpoint's position in the endless training stream; see docs/architecture.md.

    The next batch is a function of `seed`, `batch_size` and `step`, for a source of `samples` samples.
    """

    step: int
    seed: int
    batch_size: int
    source: str
    samples: int
    names: str = ""  # SHA-256 of the photos' file names in their order, without folders; "" in earlier versions


@dataclasses.dataclass(frozen=True)
class Restored:
    """The result of `read_checkpoint`: "params" and "batch_stats" as numpy, and their origin."""

    variables: dict[str, Any]
    step: int
    origin: str  # "step 3000 (best by psnr) of runs/full"


class Checkpoints:
    """The checkpoints of one work directory, for the training that writes them."""

    def __init__(self, workdir: Path, *, keep: int = 2, ranking: Ranking | None = None):
        """Opens or creates WORKDIR/checkpoints; reports a damaged newest one and sets it aside.

        Raises:
          UserError: the work directory cannot be written, or all its checkpoints are damaged.
        """
        make_workdir(workdir)
        if jax.process_index() == 0:
            _remove_half_written(workdir)
            _set_damaged_aside(workdir)
        multihost_utils.sync_global_devices("the newest checkpoint is whole")
        score: Any = (ranking or Ranking()).score
        keep_best = checkpoint_managers.BestN(n=1, get_metric_fn=score, keep_checkpoints_without_metrics=False)
        # Orbax logs an error in each of its threads before raising it: once, in one sentence, is enough.
        self._log = logging.getLogger("absl")
        self._log_level = self._log.level
        self._log.setLevel(logging.CRITICAL)
        self._workdir = workdir
        self._folder = workdir.absolute() / _FOLDER
        self._saving: int | None = None
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                best_fn=score,  # so that metrics are written beside the state
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                    [checkpoint_managers.LatestN(n=keep), keep_best]
                ),
                async_options=ocp.options.AsyncOptions(post_finalization_callback=self._write_manifest),
            ),
        )

    def latest_step(self) -> int | None:
        """Returns the newest saved step, or None when there is none."""
        return self._manager.latest_step()

    def save(self, state: Any, position: DataPosition, *, metrics: Mapping[str, float] | None = None) -> None:
        """Saves in the background; does nothing for a step that is already saved.

        Raises:
          UserError: the disk is full or cannot be written, now or for the previous checkpoint.
        """
        step = position.step
        if step in self._manager.all_steps():
            return
        with self._explained():
            self._manager.wait_until_finished()
            self._saving = step
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(dataclasses.asdict(position))
                ),
                metrics=dict(metrics or {}),
            )

    def restore(self, like: State) -> tuple[State, DataPosition]:
        """Restores the newest checkpoint.

        Args:
          like: a state with the result's structure, shapes, dtypes and shardings. Parts that earlier versions did not
                save are taken from it.

        Raises:
          UserError: the checkpoint belongs to another model or optimizer.
        """
        step = self.latest_step()
        try:
            saved = ocp.PyTreeCheckpointHandler().metadata(epath.Path(self._folder / str(step) / "state")).tree
            abstract = {
                field.name: jax.tree.map(ocp.utils.to_shape_dtype_struct, getattr(like, field.name))
                for field in dataclasses.fields(like)
                if field.name in saved or field.name not in _ADDED
            }
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), position=ocp.args.JsonRestore()),
            )
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(
                f"The checkpoint of step {step} in {self._folder} does not fit this config's model or optimizer; use "
                "the config it was trained with, or another --workdir."
            ) from error
        return dataclasses.replace(like, **restored["state"]), DataPosition(**restored["position"])

    def close(self) -> None:
        """Waits until all writes are finished.

        Raises:
          UserError: one could not be written.
        """
        with self._explained():
            try:
                self._manager.wait_until_finished()
                self._manager.close()
            finally:
                self._log.setLevel(self._log_level)

    def _write_manifest(self) -> None:
        """Called by orbax once all files are written, before the temporary folder gets the step's name."""
        if jax.process_index() == 0:
            for folder in self._folder.glob(f"{self._saving}{_TEMPORARY}*"):
                checksums.write_manifest(folder)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns a failed write into a `UserError` and removes the incomplete checkpoint; the older ones stay."""
        try:
            yield
        except Exception as error:
            reason = _disk_error(error)
            if reason is None:
                raise
            _remove_half_written(self._workdir)
            left = [step for step in _steps(self._workdir) if step != self._saving]
            raise UserError(
                f"The checkpoint of step {self._saving} cannot be written to {self._folder}: {reason}; mend that, and "
                f"the same command goes on from {f'step {max(left)}' if left else 'the start'}."
            ) from error


def _disk_error(error: BaseException | None) -> str | None:
    """Returns the disk error behind a chain of exceptions as text; None if there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):  # tensorstore's
            return "the disk is full"
        error = error.__cause__ or error.__context__
    return None


def read_checkpoint(workdir: Path, *, checkpoint: str | int = BEST) -> Restored:
    """Reads the weights of a checkpoint, without the optimizer, and without changing the work directory.

    The parameters are the averaged ones if the training kept an average (`config.train.ema_decay`). If the best or
    newest is damaged, this is logged, and the next best or next newest is read.

    Args:
      workdir: of a training, running or not.
      checkpoint: "best" (by `config.train.best_metric`; the newest if none was evaluated), "latest", or a step.

    Raises:
      UserError: the directory holds no such checkpoint, or only damaged ones.
    """
    candidates = _candidates(workdir, checkpoint)
    for step, why in candidates:
        try:
            restored = _read_verified(workdir.absolute() / _FOLDER / str(step))
        except DamagedError as error:
            logger.warning("The checkpoint of step %d in %s is damaged: %s.", step, workdir, error)
            continue
        origin = f"step {step}{why} of {workdir}"
        variables = {"params": restored.get("ema") or restored["params"]}
        return Restored(variables | {"batch_stats": restored.get("batch_stats") or {}}, step=step, origin=origin)
    raise UserError(
        f"The {'checkpoint' if len(candidates) == 1 else 'checkpoints'} of step "
        f"{', '.join(str(step) for step, _ in candidates)} in {workdir / _FOLDER} cannot be used: damaged."
    )


def has_checkpoints(workdir: Path) -> bool:
    """Whether the folder has checkpoints of a training."""
    return bool(_steps(workdir))


def remove_checkpoints(workdir: Path) -> None:
    """Removes all checkpoints of a training that is finished and kept in another form."""
    shutil.rmtree(workdir / _FOLDER, ignore_errors=True)


def read_arrays(path: Path, *, names: Sequence[str]) -> dict[str, Any]:
    """Reads the parts of an orbax tree that are listed in `names` and exist; "ema" takes the place of "params".

    Returns numpy arrays, so the training's devices need not exist here.
    """
    handler = ocp.PyTreeCheckpointHandler()
    saved = handler.metadata(epath.Path(path)).tree
    wanted = {name: saved[name] for name in names if name in saved}
    if wanted.get("ema"):
        del wanted["params"]
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    return handler.restore(
        epath.Path(path), args=ocp.args.PyTreeRestore(item=wanted, restore_args=restore_args, partial_restore=True)
    )


def make_workdir(workdir: Path) -> None:
    """Creates the work directory and checks that it can be written.

    Raises:
      UserError: it cannot.
    """
    probe = workdir / ".writable"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)  # another host may have removed it
    except OSError as error:
        raise UserError(
            f"The work directory {workdir} cannot be written ({error.strerror}): choose another --workdir."
        ) from error


def _steps(workdir: Path) -> list[int]:
    """Returns the steps that are saved, ascending."""
    folder = workdir / _FOLDER
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def _candidates(workdir: Path, checkpoint: str | int) -> list[tuple[int, str]]:
    """Returns the steps that `checkpoint` may mean, in order of preference, each with a reason: " (newest)"."""
    steps = _steps(workdir)
    if not steps:
        raise UserError(
            f"No checkpoint in {workdir / _FOLDER}: train one with `python launch.py --config ... --workdir "
            f"{workdir}`, or name the --workdir of a finished training."
        )
    newest = [(step, " (newest)") for step in reversed(steps)]
    if checkpoint == LATEST:
        return newest
    if checkpoint == BEST:
        ranking = Ranking.of(load_config(workdir))
        metrics = {step: _metrics(workdir / _FOLDER / str(step)) for step in steps}
        ranked = [step for step in steps if ranking.metric(metrics[step])]
        ranked.sort(key=lambda step: (ranking.score(metrics[step]), step), reverse=True)
        named = [(step, f" (best by {ranking.metric(metrics[step])})") for step in ranked]
        return named + [(step, why) for step, why in newest if step not in ranked]
    if not str(checkpoint).isdigit() or int(checkpoint) not in steps:
        raise UserError(
            f"{workdir} has no checkpoint {checkpoint!r}: give {BEST}, {LATEST} or one of its steps, "
            f"{', '.join(map(str, steps))}."
        )
    return [(int(checkpoint), "")]


def _metrics(folder: Path) -> dict[str, Any] | None:
    """Returns the metrics of the checkpoint's evaluation; None if it was not evaluated."""
    try:
        return json.loads((folder / "metrics" / "metrics").read_text(encoding="utf-8")) or None
    except (OSError, ValueError):
        return None


def _read_verified(folder: Path) -> dict[str, Any]:
    """Returns the network's part of a checkpoint's state. Raises `DamagedError`."""
    _verify(folder)
    try:
        return read_arrays(folder / "state", names=("ema", "params", "batch_stats"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"its state cannot be read ({' '.join(str(error).split())[:200]})") from error


def _verify(folder: Path) -> None:
    """Raises `DamagedError` for an incomplete or changed checkpoint; those of earlier versions have no checksums."""
    if checksums.verify(folder) is not None:
        return
    for name in ("state", "position"):
        if not any((folder / name).glob("*")):
            raise DamagedError(f"{name} is missing")


def _remove_half_written(workdir: Path) -> None:
    for folder in (workdir / _FOLDER).glob(f"*{_TEMPORARY}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _set_damaged_aside(workdir: Path) -> None:
    """Moves the newest checkpoints, down to the first undamaged one, to WORKDIR/damaged_checkpoints."""
    aside = workdir / _DAMAGED
    for step in reversed(_steps(workdir)):
        folder = workdir / _FOLDER / str(step)
        try:
            _verify(folder)
            return
        except DamagedError as error:
            number = sum(1 for _ in aside.glob(f"{step}*"))
            target = aside / (f"{step}.{number}" if number else str(step))
            aside.mkdir(exist_ok=True)
            folder.rename(target)
            logger.warning("The checkpoint of step %d is damaged (%s): moved to %s.", step, error, target)
    if aside.is_dir():
        raise UserError(
            f"All checkpoints of {workdir} are damaged and lie in {aside}: choose another --workdir, or delete that "
            "folder to begin again."
        )
