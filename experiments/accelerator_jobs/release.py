"""The jobs "release", "balance" and "assemble": one training over the whole budget, its loss weights, its weights."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from accelerator_jobs import speed, training
from accelerator_jobs.balance import balanced_weights, gradient_norms
from accelerator_jobs.parts import read_parts
from accelerator_jobs.scoring import headline, score
from accelerator_jobs.session import Session
from semcolor_jax.checkpoints.releases import save_release
from semcolor_jax.errors import UserError
from semcolor_jax.training import loop

BALANCE_BATCHES = 8


def run(session: Session, config: ConfigDict, *, resume: Path | None, reserve: float) -> dict[str, Any]:
    """Trains until only `reserve` seconds of the budget are left, keeps the averaged weights, and scores them.

    Raises:
      UserError: a mistake in the config or the data; no weights for the encoder; a loss is not finite.
    """
    setup, state = training.begin(session, config, name="release", resume=read_parts(resume) if resume else None)
    trained = training.train(session, setup, state, until=session.budget - reserve, save=True)
    result = trained.facts | {"memory": speed.memory(), "scores": score(setup, trained.variables)}
    session.log(headline(result["scores"]))
    session.record("release", result)
    return result


def run_balance(session: Session, config: ConfigDict, *, until: float) -> dict[str, float]:
    """Trains up to a time and measures each loss's gradient at the encoder before and after; returns the weights.

    The weights come from the end: at the start, untrained heads pull at random.

    Raises:
      UserError: a mistake in the config or the data; a loss is not finite.
    """
    result: dict[str, Any] = {}

    def measure(title: str, setup: loop.Setup, state: Any) -> dict[str, float]:
        norms = gradient_norms(
            setup.phases[0].model,
            state,
            itertools.islice(loop.training_batches(setup, state), BALANCE_BATCHES),
            config=setup.config,
            rebalancing=setup.rebalancing,
        )
        result[title] = {"norms": norms, "weights": balanced_weights(norms)}
        session.log(f"gradients at the encoder, {title}: {result[title]}")
        session.record("balance", result)
        return result[title]["weights"]

    setup, state = training.begin(session, config, name="balance")
    measure("before", setup, state)
    trained = training.train(session, setup, state, until=until)
    result["trained"] = trained.facts
    _, fresh = training.begin(session, config, name="balance")
    last = {
        name: jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), variables, getattr(fresh, name))
        for name, variables in trained.variables.items()
    }
    return measure("after", setup, dataclasses.replace(fresh, **last))


def assemble(session: Session, parts: Path | None, *, config: ConfigDict) -> None:
    """Writes the weights of saved parts as a released model, OUTPUT/model, which every command takes.

    Its final colour is as `config.inference` says, and it computes in float32, which every device does fast.

    Raises:
      UserError: no parts were named, or they cannot be read; the model exists already.
    """
    if parts is None:
        raise UserError("assemble needs --resume PARTS, the folder of weights.part1, 2, ...")
    model = session.output / "model"
    if model.exists():
        raise UserError(f"{model} exists already: remove it, or name another --output.")
    saved = read_parts(parts)
    released = saved.config.copy_and_resolve_references()
    released.data.update(dict(source="embedded", dir="", mix="", prior="", cache="none"))  # no folders of this machine
    released.inference.update(config.inference)
    released.model.dtype = "float32"
    save_release(saved.variables, model, config=released)
    session.log(f"{model}: {saved.facts}")
