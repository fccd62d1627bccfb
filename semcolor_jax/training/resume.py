"""Checks that a resumed training has the config and data with which it started."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from semcolor_jax.checkpoints.configs import load_config, save_config
from semcolor_jax.checkpoints.training_runs import DataPosition
from semcolor_jax.data.example import Source
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

FREE = (
    "name",
    "data.dir",  # the data may move; the photos' names are checked with the checkpoint
    "data.prior",  # the work directory keeps what was measured
    "data.prior_images",
    "data.require_labels",
    "inference",
    "parallel",  # any number of devices takes the same steps, up to rounding
    "train.before_after",
    "train.best_metric",
    "train.best_mode",
    "train.checkpoint_every_steps",
    "train.eval_every_steps",
    "train.eval_samples",
    "train.grid_samples",
    "train.keep_checkpoints",
    "train.log_every_steps",
    "train.max_skipped",
    "train.remat",
    "train.start_from",  # read only when nothing is resumed
)
"""Fields and sections that affect no weight update: a training may resume with other values.

Any field not named here counts as one that affects the numbers."""


def check_same_training(config: ConfigDict, workdir: Path) -> None:
    """Compares the config with that of the training in `workdir`, in every field that affects its numbers.

    Raises:
      UserError: the training there is another one; the sentence names every field that differs.
    """
    changed = {
        field: values for field, values in differences(load_config(workdir), config).items() if not _is_free(field)
    }
    if changed:
        listed = "; ".join(f"config.{field} was {old}, is {new}" for field, (old, new) in changed.items())
        raise UserError(
            f"{workdir} was trained with other values ({listed}): use the same ones, or go on with these in another "
            f"work directory, with --config.train.start_from={workdir}."
        )


def position_of(config: ConfigDict, source: Source, *, step: int) -> DataPosition:
    """Returns where a training on `source` stands after `step` updates."""
    names = "\n".join(name.rpartition("/")[2] for name in source.names)
    return DataPosition(
        step=step,
        seed=config.seed,
        batch_size=config.data.batch_size,
        source=source.name,
        samples=len(source),
        names=hashlib.sha256(names.encode()).hexdigest(),
    )


def check_same_data(saved: DataPosition, now: DataPosition, workdir: Path) -> None:
    """Compares a checkpoint's data with the current data, which may have moved.

    Raises:
      UserError: the data differ.
    """
    if (saved.samples, saved.seed, saved.batch_size) != (now.samples, now.seed, now.batch_size):
        raise UserError(
            f"{workdir} was trained on {_describe(saved)}, this config asks for {_describe(now)}: use the same data, "
            "batch size and seed to continue, or another --workdir."
        )
    if saved.names and saved.names != now.names:
        raise UserError(
            f"{workdir} was trained on other photos, or in another order, than the {now.samples} of {now.source} now: "
            "use the same data to continue, or another --workdir."
        )


def _describe(position: DataPosition) -> str:
    return f"{position.samples} samples of {position.source} in batches of {position.batch_size}, seed {position.seed}"


def record_config(config: ConfigDict, workdir: Path) -> None:
    """Writes WORKDIR/config.json and logs the differences from an existing one."""
    if (workdir / "config.json").is_file():
        changed = differences(load_config(workdir), config)
        if changed:
            listed = "; ".join(f"{field} was {old}, is {new}" for field, (old, new) in changed.items())
            logger.info("%s: %s", workdir / "config.json", listed)
    save_config(workdir, config)


def differences(before: ConfigDict, after: ConfigDict) -> dict[str, tuple[str, str]]:
    """Returns the fields whose values differ, as text, by their dotted names; folders in `data.mix` are ignored."""
    old, new = _flat(before), _flat(after)
    return {
        field: (_text(old, field), _text(new, field))
        for field in sorted(old.keys() | new.keys())
        if _comparable(field, old.get(field)) != _comparable(field, new.get(field))
    }


def _is_free(field: str) -> bool:
    return any(field == free or field.startswith(f"{free}.") for free in FREE)


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of a config by their dotted names, as JSON has them: tuples are lists."""
    if not isinstance(config, ConfigDict):
        return {prefix: json.loads(json.dumps(config))}
    fields: dict[str, Any] = {}
    for key, value in config.items():
        fields |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return fields


def _text(fields: dict[str, Any], field: str) -> str:
    return repr(fields[field]) if field in fields else "not there"


def _comparable(field: str, value: Any) -> Any:
    """Returns the value; of a valid `data.mix`, the sources and weights without the folders."""
    if field != "data.mix" or not value:
        return value
    parts = [part.strip().rpartition("=") for part in value.split(",")]
    with contextlib.suppress(ValueError):
        return [((source or weight).partition(":")[0], float(weight) if source else 1.0) for source, _, weight in parts]
    return value
