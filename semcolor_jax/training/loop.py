"""The training loop: sources, state, steps, evaluation, checkpoints, resume."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from semcolor_jax import backend
from semcolor_jax.baselines.build import build_to_run, init_variables
from semcolor_jax.baselines.registry import checked, find_method
from semcolor_jax.checkpoints.ranking import Ranking
from semcolor_jax.checkpoints.start import start_from
from semcolor_jax.checkpoints.training_runs import Checkpoints, has_checkpoints, make_workdir
from semcolor_jax.color import NUM_BINS, rebalancing_weights
from semcolor_jax.data.device_cache import CachedBatch
from semcolor_jax.data.example import Batch, Sample, Source
from semcolor_jax.data.pipeline import eval_samples, numpy_batches, prefetch_to_device, train_batches
from semcolor_jax.data.prior import load_prior, measure_prior, save_prior
from semcolor_jax.data.sources import make_source
from semcolor_jax.data.supervision import supervision_of
from semcolor_jax.evaluation.evaluate import EvaluationResult, evaluate, pick_shown
from semcolor_jax.evaluation.grids import sample_grid
from semcolor_jax.files import write_text
from semcolor_jax.models import Predictor
from semcolor_jax.photos.files import write_image
from semcolor_jax.training import sharding
from semcolor_jax.training.cached import cached_batches
from semcolor_jax.training.monitor import Every, Pace, StepLog, StopRequest, format_metrics, timed_next
from semcolor_jax.training.optimizer import build_optimizer, observe_validation, thaw_step, total_steps
from semcolor_jax.training.overview import check_disk, count_parameters, parameter_overview
from semcolor_jax.training.preparation import make_preparation
from semcolor_jax.training.resume import check_same_data, check_same_training, position_of, record_config
from semcolor_jax.training.scalars import ScalarWriter
from semcolor_jax.training.state import TrainState, create_state
from semcolor_jax.training.step import TrainStep, make_train_step
from semcolor_jax.training.supervision import settle_branches
from semcolor_jax.training.validation import LossStep, make_loss_step, validation_losses

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of the run with photos of one size and the same frozen blocks."""

    config: ConfigDict
    first_step: int  # updates done before it begins
    model: nn.Module
    step: TrainStep
    losses: LossStep  # of the validation samples


@dataclasses.dataclass(frozen=True)
class Setup:
    """What stays the same over a run."""

    config: ConfigDict
    workdir: Path
    source: Source
    held_out: Source
    validation: Sequence[Sample]  # those of `held_out` that periodic evaluation scores
    phases: Sequence[Phase]
    mesh: jax.sharding.Mesh
    steps_per_epoch: int
    rebalancing: np.ndarray  # w of eq. 12, (313,)
    last_step: int

    def phase(self, step: int) -> Phase:
        """Returns the phase of the step that follows `step` updates."""
        return [phase for phase in self.phases if phase.first_step <= step][-1]


def train(config: ConfigDict, workdir: Path) -> TrainState:
    """Trains from the newest checkpoint in `workdir`, or from the start when there is none, to the end of stage 2.

    Leaves checkpoints, config.json, prior.json, scalars and sample grids in `workdir`. SIGINT or SIGTERM
    saves a checkpoint and exits with code 130 or 75; the next call resumes from there, with exactly the batches of an
    uninterrupted run. Every host makes the same call, with a shared work directory (docs/scaling.md).

    Raises:
      UserError: a mistake in the config, the data or the work directory; or too many losses in a row are not finite.
    """
    config = checked(config)
    setup, state = prepare(config, workdir)
    manager = Checkpoints(workdir, keep=config.train.keep_checkpoints, ranking=Ranking.of(config))
    try:
        state = _resume(setup, state, manager)
        if sharding.is_first_host():
            record_config(setup.config, workdir)
            check_disk(state, workdir, checkpoints=config.train.keep_checkpoints + 1)  # and the best
            write_text(workdir / "parameters.txt", parameter_overview(state.params))
        return run(setup, state, manager)
    finally:
        manager.close()


def prepare(
    config: ConfigDict, workdir: Path, *, sources: tuple[Source, Source] | None = None
) -> tuple[Setup, TrainState]:
    """Builds sources, network, optimizer and the compiled step, and the state before the first update.

    Args:
      config: the training's.
      workdir: for the prior and the table of parameters.
      sources: for training and validation; None: those that the config names.
    """
    mesh = sharding.device_mesh(config.parallel.fsdp)
    sharding.check_batch_size(config, mesh)
    source, held_out = sources or (make_source(config, "train"), make_source(config, "val"))
    config = settle_branches(config, supervision_of(source))
    make_workdir(workdir)
    steps_per_epoch = max(1, len(source) // config.data.batch_size)
    optimizer = build_optimizer(config, steps_per_epoch=steps_per_epoch)
    variables = init_variables(build_to_run(config), jax.random.key(config.seed, impl="rbg"), config=config)
    if config.train.start_from and not has_checkpoints(workdir):
        variables = start_from(variables, Path(config.train.start_from), config=config)
    state = create_state(variables, optimizer, averaged=config.train.ema_decay > 0)
    shardings = sharding.state_split(mesh, state, smallest=config.parallel.fsdp_smallest)
    state = sharding.place(state, shardings)
    # Where there are several devices, the compiler might put the next state elsewhere.
    kept = shardings if mesh.size > 1 else None
    rebalancing = _rebalancing(config, workdir, source)
    last_step = total_steps(config, steps_per_epoch=steps_per_epoch)
    setup = Setup(
        config=config,
        workdir=workdir,
        source=source,
        held_out=held_out,
        validation=list(eval_samples(held_out, limit=config.train.eval_samples)),
        phases=[
            _make_phase(phase_config, first_step, optimizer=optimizer, rebalancing=rebalancing, shardings=kept)
            for first_step, phase_config in _phase_configs(config, steps_per_epoch=steps_per_epoch).items()
        ],
        mesh=mesh,
        steps_per_epoch=steps_per_epoch,
        rebalancing=rebalancing,
        last_step=last_step,
    )
    logger.info(
        "%s: %d to train on, %d to validate, %d steps of batch %d, %d parameters on %d %s device(s) of %d host(s)",
        config.name,
        len(source),
        len(setup.validation),
        last_step,
        config.data.batch_size,
        count_parameters(state.params),
        mesh.size,
        backend.platform(),
        jax.process_count(),
    )
    return setup, state


def _make_phase(
    config: ConfigDict,
    first_step: int,
    *,
    optimizer: optax.GradientTransformationExtraArgs,
    rebalancing: np.ndarray,
    shardings: TrainState | None,
) -> Phase:
    model = build_to_run(config)
    step = make_train_step(
        model,
        optimizer,
        loss_config=config.loss,
        rebalancing=rebalancing,
        seed=config.seed,
        method=config.model.method,
        ema_decay=config.train.ema_decay,
        prepare=make_preparation(config),
        shardings=shardings,
    )
    losses = make_loss_step(
        model,
        find_method(config.model.method).objective,
        loss_config=config.loss,
        rebalancing=rebalancing,
        seed=config.seed,
    )
    return Phase(config=config, first_step=first_step, model=model, step=step, losses=losses)


def run(setup: Setup, state: TrainState, manager: Checkpoints) -> TrainState:
    """Runs the remaining steps, with logging, evaluation and checkpoints at their cadences."""
    train_config = setup.config.train
    log_every, save_every, eval_every = (
        Every(train_config[name]) for name in ("log_every_steps", "checkpoint_every_steps", "eval_every_steps")
    )
    first, last = int(state.step), setup.last_step
    batches = training_batches(setup, state)
    log, pace = StepLog(max_skipped=train_config.max_skipped), Pace(first, last)
    writer = ScalarWriter(setup.workdir, step=first)
    with StopRequest() as stop, _progress(first, last) as bar:
        for step in range(first + 1, last + 1):
            batch, waited = timed_next(batches)
            state, metrics = setup.phase(step - 1).step(state, batch)
            log.add(step, metrics, host_wait=waited)
            bar.update()
            if sentence := pace.sentence(step, now=time.perf_counter()):
                _say(bar, sentence)
            code = stop.code(step)
            leaving = code is not None and step < last
            evaluating, saving = eval_every.due(step, last=last), save_every.due(step, last=last) or leaving
            ends_epoch = step % setup.steps_per_epoch == 0
            results: dict[str, float] = {}
            if log_every.due(step, last=last) or saving or evaluating:
                scalars = log.drain()
                writer.write(step, scalars)
                names = ("loss", *setup.config.loss, "learning_rate", "steps_per_second", "host_wait")
                _say(bar, f"step {step}/{last}  {format_metrics(scalars, names)}")
            if train_config.loss_samples and (evaluating or ends_epoch):
                results |= _validation_losses(setup, state, step)
                state = _observe(setup, state, results["loss"]) if ends_epoch else state
            if evaluating:
                results |= _evaluate(setup, state, step)
            if results:
                writer.write(step, {f"val_{name}": value for name, value in results.items()})
                _say(bar, f"step {step}/{last}  validation: {format_metrics(results, results)}")
                log.restart()
            if evaluating or saving:
                manager.save(state, position_of(setup.config, setup.source, step=step), metrics=results or None)
                log.restart()
            if leaving:
                _say(bar, f"Stopped at step {step}; the checkpoint is saved, the same command goes on from it.")
                raise SystemExit(code)
    writer.close()
    return state


def _progress(first: int, last: int) -> tqdm:
    return tqdm(total=last, initial=first, unit="step", dynamic_ncols=True, disable=not sharding.is_first_host())


def _say(bar: tqdm, text: str) -> None:
    if sharding.is_first_host():
        bar.write(text)


def _resume(setup: Setup, state: TrainState, manager: Checkpoints) -> TrainState:
    """Returns the newest checkpoint's state, or the given one when there is none."""
    if manager.latest_step() is None:
        return state
    check_same_training(setup.config, setup.workdir)
    state, position = manager.restore(state)
    check_same_data(position, position_of(setup.config, setup.source, step=int(state.step)), setup.workdir)
    logger.info("resumed from step %d of %d in %s", int(state.step), setup.last_step, setup.workdir)
    return state


def training_batches(setup: Setup, state: TrainState) -> Iterator[Mapping[str, jax.Array] | CachedBatch]:
    """Returns the endless stream of device batches from the state's step on."""
    first_step = int(state.step)
    if setup.config.data.cache == "device":
        return cached_batches(setup.source, setup.phases, state=state, first_step=first_step, mesh=setup.mesh)

    from semcolor_jax.data.augment import training_ops  # needs TensorFlow, which nothing else here does

    def batches() -> Iterator[Batch]:
        ends = [phase.first_step for phase in setup.phases[1:]]
        for phase, end in itertools.zip_longest(setup.phases, ends):
            start = max(first_step, phase.first_step)
            dataset = train_batches(
                setup.source,
                ops=training_ops(phase.config),
                batch_size=phase.config.data.batch_size,
                seed=phase.config.seed,
                start_step=start,
                shard_index=jax.process_index(),
                shard_count=jax.process_count(),
            )
            yield from numpy_batches(dataset if end is None else dataset.take(max(0, end - start)))

    return prefetch_to_device(batches(), sharding=sharding.batch_split(setup.mesh))


def _phase_configs(config: ConfigDict, *, steps_per_epoch: int) -> dict[int, ConfigDict]:
    """Returns the configs of the run's one to three phases by their first step; see `config.growth`."""
    phases, growth = {0: config}, config.growth
    if growth.epoch:
        grown = config.copy_and_resolve_references()
        grown.data.short_side, grown.data.image_size = growth.short_side, growth.image_size
        phases[round(growth.epoch * steps_per_epoch)] = grown
        thawed = grown.copy_and_resolve_references()
        thawed.model.frozen_blocks = growth.frozen_blocks
        if start := thaw_step(config, steps_per_epoch=steps_per_epoch):
            phases[start] = thawed
    return phases


def _rebalancing(config: ConfigDict, workdir: Path, source: Source) -> np.ndarray:
    """Returns the rebalancing weights from the config's prior, the work directory's, or a new measurement.

    All are 1 for a method that does not rebalance.
    """
    if not find_method(config.model.method).rebalances:
        return np.ones(NUM_BINS, np.float32)
    kept = workdir / "prior.json"  # also of a given prior, so that a resumed run has the same
    new = True
    if config.data.prior and not (kept.exists() and has_checkpoints(workdir)):
        prior = load_prior(config.data.prior)
    elif kept.exists():
        prior, new = load_prior(kept), False
    else:
        logger.info("measuring the colour prior on up to %d training images", config.data.prior_images)
        prior = measure_prior(source, max_images=config.data.prior_images, seed=config.seed)
    if new and sharding.is_first_host():
        save_prior(kept, prior)
    weights = rebalancing_weights(
        prior.probabilities, uniform_share=config.loss.rebalancing_lambda, sigma=config.loss.rebalancing_sigma
    )
    return sharding.agreed(weights)


def _validation_losses(setup: Setup, state: TrainState, step: int) -> dict[str, float]:
    """Returns the validation losses under the weights that are evaluated; "loss" is the joint one."""
    phase = setup.phase(step - 1)
    losses = validation_losses(
        phase.losses,
        sharding.gathered(state.averaged_variables, setup.mesh),
        eval_samples(setup.held_out, limit=setup.config.train.loss_samples),
        batch_size=setup.config.data.batch_size,
        size=phase.config.data.image_size,
    )
    return sharding.agreed(losses)


def _observe(setup: Setup, state: TrainState, loss: float) -> TrainState:
    """Passes an epoch's validation loss to the learning-rate schedule, before the state is saved."""
    opt_state = observe_validation(state.opt_state, jnp.float32(loss), schedule=setup.config.schedule)
    shardings = sharding.state_split(setup.mesh, opt_state, smallest=setup.config.parallel.fsdp_smallest)
    return dataclasses.replace(state, opt_state=sharding.place(opt_state, shardings))


def _evaluate(setup: Setup, state: TrainState, step: int) -> dict[str, float]:
    """Evaluates on the validation samples and draws the sample grid of this step."""
    phase = setup.phase(step - 1)
    config = phase.config
    predictor = Predictor(phase.model, sharding.gathered(state.averaged_variables, setup.mesh))
    result: EvaluationResult = evaluate(
        predictor, setup.validation, temperature=config.inference.temperature, size=config.data.image_size
    )
    shown = pick_shown(setup.validation, count=config.train.grid_samples, size=config.data.image_size)
    grid = sample_grid(predictor, shown, temperature=config.inference.temperature)
    if sharding.is_first_host():
        folder = setup.workdir / "samples"
        folder.mkdir(exist_ok=True)
        write_image(folder / f"step_{step:08d}.png", grid)
    return sharding.agreed(validation_scalars(result))


def validation_scalars(result: EvaluationResult) -> dict[str, float]:
    """Returns an evaluation as flat scalars for the log; `psnr` is the default branch's."""
    scalars = {"psnr": result.monitor}
    for row, metrics in result.branches.items():
        scalars |= {f"{row}_{name}": value for name, value in metrics.items()}
    if result.segmentation is not None:
        scalars["mean_iou"] = result.segmentation.mean_iou
    if result.scenes is not None:
        scalars["scene_top1"] = result.scenes.top1
    return scalars
