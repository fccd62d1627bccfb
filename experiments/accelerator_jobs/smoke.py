"""The job "smoke": does everything run, how fast is each form of the step, and does a saved run resume?"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from accelerator_jobs import speed, training
from accelerator_jobs.parts import read_parts
from accelerator_jobs.scoring import headline, score
from accelerator_jobs.session import Pace, Session
from semcolor_jax.backend import on_one_cpu
from semcolor_jax.errors import UserError
from semcolor_jax.training import loop

REST = 3.5
"""What must be left before a form is measured, in times that the slowest one took.

That is for the form itself and for the two trainings, each of which takes about as long.
"""

REPORTED = ("images_per_second", "step_ms", "share_of_peak", "compile_seconds", "error")


def forms(config: ConfigDict, *, batch_sizes: tuple[int, ...]) -> Iterator[tuple[str, ConfigDict]]:
    """Yields the forms to compare, each at every batch size; the recipe's own comes first.

    The heads are whole or fused; only on one CPU do the two differ.
    """
    others = {"plain", "fused"} - {config.loss.heads} if on_one_cpu() else ()
    heads = (config.loss.heads, *others)
    for size, name in itertools.product((config.data.batch_size, *batch_sizes), heads):
        form = config.copy_and_resolve_references()
        form.loss.heads, form.data.batch_size = name, size
        yield f"heads {name}, batch {size}", form


def run(session: Session, config: ConfigDict, *, seconds: float, batch_sizes: tuple[int, ...] = ()) -> dict[str, Any]:
    """Measures each form of the step alone, then trains, saves, and resumes from the save.

    Args:
      session: its results are written after each measurement.
      config: the recipe.
      seconds: for each form, and for each of the two trainings.
      batch_sizes: to try besides the recipe's.

    Raises:
      UserError: the training differs from what was saved, or the loss is not finite.
    """
    result: dict[str, Any] = {"device": jax.local_devices()[0].device_kind, "jax": jax.__version__, "forms": {}}
    pace = Pace(session, times=REST)
    for title, form in forms(config, batch_sizes=batch_sizes):
        if not pace.allows(title):
            continue
        alone = functools.partial(_alone, session, form, seconds=seconds)
        measured = pace.timed(functools.partial(speed.attempt, alone))
        result["forms"][title] = measured
        session.log(f"{title}: { ({name: measured[name] for name in REPORTED if name in measured}) }")
        session.record("smoke", result)
    setup, state = training.begin(session, config, name="smoke")
    whole = training.train(session, setup, state, seconds=2 * seconds, save=True)
    result["whole"] = whole.facts | {"memory": speed.memory()}
    alone = next(iter(result["forms"].values())).get("images_per_second")
    if alone:
        result["whole_over_alone"] = round(whole.facts["images_per_second"] / alone, 4)
        session.log(f"whole training: {result['whole_over_alone']:.1%} of the step alone")
    result["scores"] = score(setup, whole.variables)
    session.log(headline(result["scores"]))
    session.record("smoke", result)
    result["resumed"] = _resume(session, config, whole, seconds=seconds)
    session.record("smoke", result)
    return result


def _alone(session: Session, config: ConfigDict, *, seconds: float) -> dict[str, Any]:
    setup, state = training.begin(session, config, name="smoke")
    batch = next(loop.training_batches(setup, state))
    size = config.data.batch_size
    _, measured = speed.step_alone(setup.phases[0].step, state, batch, batch_size=size, seconds=seconds)
    return measured


def _resume(session: Session, config: ConfigDict, whole: training.Trained, *, seconds: float) -> dict[str, Any]:
    """Starts a second training from the parts, and checks that it starts where the first ended, up to 16 bits."""
    saved = read_parts(session.output)
    for old, new in zip(jax.tree.leaves(whole.variables), jax.tree.leaves(saved.variables), strict=True):
        if not np.allclose(np.asarray(old), new, rtol=1e-3, atol=1e-6):
            raise UserError("the weights that were saved are not those that were trained.")
    setup, state = training.begin(session, config, name="smoke", resume=saved)
    resumed = training.train(session, setup, state, seconds=seconds, save=True)
    session.log(f"went on from {saved.facts['steps']} steps with fresh moments (so not bit by bit)")
    return resumed.facts
