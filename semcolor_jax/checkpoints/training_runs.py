"""Checkpoints of a work directory: the train state and the data position, through orbax.

Layout: `WORKDIR/config.json` (the config it was trained with), `WORKDIR/prior.json` (the colour prior),
`WORKDIR/checkpoints/STEP/` (orbax). The newest `keep` checkpoints stay, and the best by the monitored metric.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from semcolor_jax.errors import UserError

if TYPE_CHECKING:
    from semcolor_jax.training.state import TrainState  # imports optax, which reading weights does not need

MONITOR = "psnr"
"""The metric whose largest value marks the best checkpoint."""


@dataclasses.dataclass(frozen=True)
class DataPosition:
    """Where in the endless training stream a checkpoint stands; see docs/architecture.md.

    The next batch is a function of `seed`, `batch_size` and `step`, for a source of `samples` samples.
    """

    step: int
    seed: int
    batch_size: int
    source: str
    samples: int


class Checkpoints:
    """The checkpoints of one work directory."""

    def __init__(self, workdir: Path, *, keep: int = 2):
        """Opens or creates WORKDIR/checkpoints.

        Raises:
          UserError: the work directory cannot be written.
        """
        make_workdir(workdir)
        keep_newest = checkpoint_managers.LatestN(n=keep)
        keep_best = checkpoint_managers.BestN(
            n=1,
            get_metric_fn=lambda metrics: metrics.get(MONITOR, float("-inf")),
            keep_checkpoints_without_metrics=False,
        )
        self._manager = ocp.CheckpointManager(
            workdir.absolute() / "checkpoints",
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy([keep_newest, keep_best]),
                step_prefix=None,
            ),
        )

    def latest_step(self) -> int | None:
        """Returns the newest saved step, or None when there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, position: DataPosition, *, metrics: Mapping[str, float] | None = None) -> None:
        """Saves in the background; a step that is already saved is left as it is."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(dataclasses.asdict(position))
            ),
            metrics=dict(metrics) if metrics else None,
        )

    def restore(self, like: TrainState) -> tuple[TrainState, DataPosition]:
        """Restores the newest checkpoint.

        Args:
          like: a state of the same structure; its shapes, dtypes and shardings are the result's.

        Raises:
          UserError: the checkpoint belongs to another model or optimizer.
        """
        step = self.latest_step()
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), position=ocp.args.JsonRestore()),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"The checkpoint of step {step} in {self._manager.directory} does not fit this config's model or "
                "optimizer; use the config it was trained with, or another --workdir."
            ) from error
        return restored["state"], DataPosition(**restored["position"])

    def close(self) -> None:
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()


def restore_variables(workdir: Path) -> dict[str, Any]:
    """Restores the variables ("params", "batch_stats") of the newest checkpoint, as numpy, without the optimizer.

    The parameters are the averaged ones where the training kept an average (`config.train.ema_decay`).

    Raises:
      UserError: the directory holds no checkpoint.
    """
    folder = workdir.absolute() / "checkpoints"
    steps = ocp.utils.checkpoint_steps(folder) if folder.is_dir() else []
    if not steps:
        raise UserError(
            f"No checkpoint in {folder}: train one with `python launch.py --config ... --workdir {workdir}`, "
            "or name the --workdir of a finished training."
        )
    restored = read_arrays(folder / str(max(steps)) / "state", names=("ema", "params", "batch_stats"))
    return {"params": restored.get("ema") or restored["params"], "batch_stats": restored.get("batch_stats") or {}}


def read_arrays(path: Path, *, names: Sequence[str]) -> dict[str, Any]:
    """Reads those parts of a tree saved by orbax that it has of `names`, without the rest; "ema" in place of "params".

    As numpy arrays, so that the devices of the training need not be there.
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
    """Creates the work directory and proves that it can be written.

    Raises:
      UserError: it cannot.
    """
    probe = workdir / ".writable"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"The work directory {workdir} cannot be written ({error.strerror}): choose another --workdir."
        ) from error
