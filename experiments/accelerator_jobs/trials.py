"""The jobs that train several recipes and compare them: "trials", "ablation" and "comparison"."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax
from compared_methods import ABLATIONS, COMPARISONS, config_of
from ml_collections import ConfigDict

from accelerator_jobs import training
from accelerator_jobs.parts import PATTERN, read_parts
from accelerator_jobs.resumable import Resumable
from accelerator_jobs.scoring import headline, score
from accelerator_jobs.session import Pace, Session
from semcolor_jax.checkpoints.training_runs import remove_checkpoints
from semcolor_jax.errors import UserError
from semcolor_jax.training.loop import Setup
from semcolor_jax.training.resume import check_same_training
from semcolor_jax.training.state import TrainState

Change = Callable[[ConfigDict], None]
Case = Callable[[ConfigDict], ConfigDict]
"""Returns a copy of a config for one of the compared networks."""

TRAINED = 0.5
"""The share of a trial's time that it trains for; the rest is for compiling, filling the cache and scoring."""

METRICS = ("psnr_gain", "ab_share", "colour_share")


def _weights(**losses: float) -> Change:
    return lambda config: config.loss.update(losses)


def _set(section: str, **fields: Any) -> Change:
    return lambda config: config[section].update(fields)


TRIALS: dict[str, Change] = {
    "recipe": lambda config: None,
    "lambda 0.5": _weights(rebalancing_lambda=0.5),
    "lambda 1": _weights(rebalancing_lambda=1.0),
    "width 64": _set("model", width=64),
    "encoder at the full rate": _set("optimizer", encoder_rate=1.0),
    "encoder at a tenth": _set("optimizer", encoder_rate=0.1),
    "grey photos too": _set("data", min_chroma=0.0),
    "regression doubled": _weights(reg=20.0),
}
"""The trials, each alone against the recipe. The first trial is "balanced": the weights that `balance` proposes."""


def _from_random_weights(config: ConfigDict) -> ConfigDict:
    config = config_of("SegClasRegSoft", config)
    config.model.pretrained = False
    config.optimizer.encoder_rate = 1.0
    return config


def _cases(titles: Iterable[str]) -> dict[str, Case]:
    return {title: functools.partial(config_of, title) for title in titles}


CASES: dict[str, dict[str, Case]] = {
    "ablation": _cases(ABLATIONS),
    "comparison": {"SegClasRegSoft from random weights": _from_random_weights, **_cases(COMPARISONS)},
}
"""The runs of these jobs. The comparison methods have no encoder with ImageNet's weights; how much that alone costs,
the paper's network from random weights shows."""


def run_trials(session: Session, config: ConfigDict, *, reserve: float, balanced: dict[str, float]) -> None:
    """Trains each trial for equally many seconds, compilation and all else not counted, and writes a table after each.

    A trial that would not be done in time, by the slowest so far, is not begun.

    Args:
      session: with the time.
      config: the recipe.
      reserve: seconds to leave at the end.
      balanced: loss weights that balance the gradients.
    """
    changes = {"recipe": TRIALS["recipe"], "balanced": _weights(**balanced), **TRIALS}
    scores: dict[str, Any] = {}
    seconds, pace = TRAINED * (session.remaining - reserve) / len(changes), Pace(session, reserve=reserve)
    for title, change in changes.items():
        if not pace.allows(title):
            break
        trial = config.copy_and_resolve_references()
        change(trial)
        scores[title] = pace.timed(functools.partial(_train_and_score, session, trial, title, seconds=seconds))
        session.record("trials", scores)
        _write_table(session, "trials", scores)


def run_cases(
    session: Session,
    job: str,
    config: ConfigDict,
    *,
    images: int,
    seed: int,
    finished: dict[str, Any],
    only: Collection[str] = (),
) -> None:
    """Trains the runs of a job on equally many images, while the time surely suffices, judged by the slowest so far.

    Args:
      session: with the time.
      job: "ablation" or "comparison".
      config: the recipe.
      images: to train on, of each run.
      seed: of weights and order.
      finished: results of an earlier session, which are kept.
      only: the runs to train, of `CASES`; none: all.

    Raises:
      UserError: `only` names another run; a mistake in the config or the data; a loss is not finite.
    """
    cases = CASES[job]
    if unknown := [title for title in only if title not in cases]:
        raise UserError(f"--only names no run of {job}: {', '.join(unknown)}; there are {', '.join(cases)}.")
    results, pace = dict(finished), Pace(session, times=1.2)
    for name in only or cases:
        title = f"{name}, seed {seed}"
        if title in results:
            continue
        if not pace.allows(title):
            break
        case = _case(config, cases[name], images=images, seed=seed)
        results[title] = pace.timed(functools.partial(_train_and_score, session, case, title))
        session.record(job, results)
        _write_table(session, job, results)


def _case(config: ConfigDict, case: Case, *, images: int, seed: int) -> ConfigDict:
    config = case(config)
    config.seed = seed
    config.schedule.steps_total = max(2, images // config.data.batch_size)
    return config


def _train_and_score(
    session: Session, config: ConfigDict, title: str, *, seconds: float | None = None
) -> dict[str, Any]:
    """Trains for some seconds; or to the end, once: a training that is already in the work directory is only scored."""
    folder = title.lower().replace(" ", "_").replace(",", "")
    setup, state = training.begin(session, config, name=folder)
    if seconds is not None:
        trained = training.train(session, setup, state, seconds=seconds)
        variables, facts = trained.variables, trained.facts
    elif any(setup.workdir.glob(PATTERN)):
        check_same_training(setup.config, setup.workdir)
        variables, _, facts = read_parts(setup.workdir)
        session.log(f"{title}: trained before, {facts['steps']} updates")
    else:
        variables, facts = _train_to_the_end(session, setup, state)
    scores = score(setup, variables)
    session.log(f"{title}: {headline(scores)}")
    return facts | scores


def _train_to_the_end(session: Session, setup: Setup, state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns weights and facts; checkpoints, from which a stopped training goes on, make way for saved weights."""
    with Resumable(setup) as checkpoints:
        trained = training.train(session, setup, state, checkpoints=checkpoints)
    session.save_weights(
        jax.device_get(trained.variables), config=setup.config, facts=trained.facts, folder=setup.workdir
    )
    remove_checkpoints(setup.workdir)
    return trained.variables, trained.facts


def _write_table(session: Session, job: str, results: dict[str, Any]) -> None:
    lines = [
        f"| {job} | colours by | PSNR above grey (dB) | ab distance, of grey's | colourfulness | images |",
        "|---|---|---|---|---|---|",
    ]
    for title, result in results.items():
        for branch, row in result["mean"].items():
            cells = [title, branch, *(f"{row[metric]:.3f}" for metric in METRICS), f"{result['images']}"]
            lines.append(f"| {' | '.join(cells)} |")
    (session.workdir / f"{job}.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    session.save_report()
