"""The commands of `semcolor` as Python functions, for callers without a command line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from semcolor_jax import config as configs
from semcolor_jax.baselines.registry import checked
from semcolor_jax.checkpoints.compact import Bits
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.models import find_model, is_release, model_name, open_model
from semcolor_jax.checkpoints.releases import export_release
from semcolor_jax.checkpoints.trained_part import save_trained
from semcolor_jax.checkpoints.training_runs import make_workdir
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data import embedded
from semcolor_jax.data.folder import Split
from semcolor_jax.data.order import first_indices
from semcolor_jax.data.pipeline import eval_samples, numpy_batches, train_batches
from semcolor_jax.data.prior import Prior, measure_prior, save_prior
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import report
from semcolor_jax.evaluation.before_after import BeforeAfter, compare
from semcolor_jax.evaluation.evaluate import EvaluationResult, center_square
from semcolor_jax.evaluation.evaluate import evaluate as evaluate_samples
from semcolor_jax.evaluation.grids import sample_grid
from semcolor_jax.evaluation.inspection import inspection_grid
from semcolor_jax.files import write_bytes, write_json
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.restore import load_colorizer, load_predictor
from semcolor_jax.photos.files import write_image
from semcolor_jax.training import loop, sharding
from semcolor_jax.training.preparation import make_preparation

logger = logging.getLogger(__name__)


def train(config: ConfigDict | None, workdir: Path) -> None:
    """Trains the config in the work directory, or resumes where it stopped."""
    if config is None:
        config = load_config(workdir)
    loop.train(config, workdir)
    logger.info("training is complete: %s", workdir)
    if config.train.before_after and config.train.start_from and sharding.is_first_host():
        compare_with_start(config, workdir)


def compare_with_start(config: ConfigDict, workdir: Path) -> BeforeAfter:
    """Colours held-out photos by `train.start_from` and by a finished training; prints a table, writes a picture.

    Raises:
      UserError: there is no such model; `workdir` cannot be written.
    """
    before, after = load_colorizer(config.train.start_from), load_colorizer(workdir)
    samples = list(eval_samples(make_source(config, "val"), limit=config.train.before_after))
    found = compare(before, after, samples)
    picture = workdir / "before_after.png"
    write_image(picture, found.picture)
    write_json(workdir / "before_after.json", {"photos": found.photos, **found.scores})
    print(f"{found.table()}\n{picture}")
    return found


def evaluate(
    config: ConfigDict | None,
    model: str | Path,
    *,
    checkpoint: str | int = "best",
    split: Split = "val",
    limit: int | None = None,
    output: Path | None = None,
) -> EvaluationResult:
    """Evaluates a model on a split of the config's data; writes metrics.json and samples.png, and prints the table.

    Args:
      config: only its data, growth and inference sections matter; None for the model's.
      model: as for `find_model`: the work directory of a training, or a released model.
      checkpoint: for a training: "best", "latest" or a step.
      split: the data's.
      limit: scores this many samples, spread over all; None for all.
      output: the folder to write to; None for the work directory, or runs/NAME for a released model.

    Raises:
      UserError: there is no such model, checkpoint or data; `limit` is below 1; the folder cannot be written.
    """
    _check_at_least_one(limit, "--limit")
    path = find_model(model)
    config = checked(config or load_config(path))
    output = output or (Path("runs") / model_name(path) if is_release(path) else path)
    make_workdir(output)
    predictor, source = load_predictor(path, checkpoint=checkpoint), make_source(config, split)
    temperature, size = config.inference.temperature, _last_size(config)
    result = evaluate_samples(
        predictor, eval_samples(source, limit=limit or 0), temperature=temperature, size=size, available=len(source)
    )
    shown = [center_square(sample, size=size) for sample in eval_samples(source, limit=config.train.grid_samples)]
    write_image(output / "samples.png", sample_grid(predictor, shown, temperature=temperature))
    report.write_json(output / "metrics.json", result)
    print(report.format_table(result))
    return result


def model_config(model: str | Path) -> ConfigDict:
    """Returns the config that a model was trained with. Raises `UserError` if there is no such model."""
    return load_config(find_model(model))


def model_summary(model: str | Path) -> str:
    """Returns a few lines about a model: its path, network, parameters and colours.

    Raises:
      UserError: there is no such model, or its weights cannot be read.
    """
    opened = open_model(model)
    path, config = opened.path, opened.config
    parameters = sum(array.size for array in jax.tree.leaves(opened.variables["params"]))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    choice = config.inference
    facts = {
        "path": path,
        "weights": opened.origin,
        "kind": "released weights" if is_release(path) else "work directory of a training",
        "size": f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB",
        "config": config.name,
        "method": config.model.method,
        "branches": ", ".join(configs.branches(config)),
        "network": f"{config.model.encoder}, width {config.model.width}, output stride {config.model.output_stride}",
        "parameters": f"{parameters:,}",
        "colours": f"branch {choice.branch}, temperature {choice.temperature:g}, photos at {choice.side} pixels",
    }
    return "\n".join(f"{name:<11} {value}" for name, value in facts.items())


def export_model(model: Path, output: Path, *, checkpoint: str | int = "best", bits: Bits = 16) -> None:
    """Writes the weights of a work directory or released model as a released model, and prints which they are.

    Raises:
      UserError: there is no such model or checkpoint; `output` cannot be written, or exists.
    """
    origin = export_release(find_model(model), output, checkpoint=checkpoint, bits=bits)
    print(f"{output}: {origin}, {bits} bits")


def export_trained(workdir: Path, output: Path, *, checkpoint: str | int = "latest", bits: Bits = 16) -> None:
    """Writes the trained weights of a work directory alone, as one file, and prints which they are.

    Raises:
      UserError: no such checkpoint in `workdir`; `output` cannot be written.
    """
    saved = save_trained(workdir, output, checkpoint=checkpoint, bits=bits)
    print(f"{output}: {saved.origin}, {bits} bits, {saved.bytes / 2**20:.1f} MiB")


def export_program(
    model: str | Path, output: Path, *, format: Literal["onnx", "stablehlo"], checkpoint: str | int = "best"
) -> None:
    """Writes a network and the decoding of its colours as one file (`inference.export`), and prints its signature.

    Raises:
      UserError: there is no such model or checkpoint, or it cannot be exported; `output` cannot be written.
    """
    from semcolor_jax.inference import export

    if not output.parent.is_dir():  # reported now, not after the conversion
        raise UserError(f"cannot write {output}: there is no folder {output.parent}.")
    network = export.network_of(open_model(model, checkpoint=checkpoint))
    data = export.to_onnx(network).SerializeToString() if format == "onnx" else export.to_stablehlo(network)
    write_bytes(output, data)
    print(f"{output}: {format}, {len(data) / 2**20:.1f} MiB, {export.signature(network)}")


def write_sample_photos(output: Path) -> list[Path]:
    """Writes the embedded photos without their colour (CIE lightness as grey), something to try `colorize` on."""
    make_workdir(output)
    written = []
    for sample in embedded.photos():
        lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
        path = output / f"{sample.name}.png"
        write_image(path, grey_copy(lightness))
        print(path)
        written.append(path)
    return written


def write_prior(config: ConfigDict, output: Path, *, limit: int | None = None) -> Prior:
    """Measures the colour prior of the config's training photos, at most `limit` of them, and writes it.

    Raises:
      UserError: a mistake in the config or the data; `limit` is below 1; `output` cannot be written.
    """
    config = checked(config)
    _check_at_least_one(limit, "--limit")
    if not output.parent.is_dir():  # reported now, not after the measurement
        raise UserError(f"cannot write {output}: there is no folder {output.parent}.")
    prior = measure_prior(make_source(config, "train"), max_images=limit, seed=config.seed)
    save_prior(output, prior)
    facts = prior.provenance
    print(f"{output}: {facts['pixels']} pixels of {facts['images']} photos of {facts['source']}")
    return prior


def inspect(config: ConfigDict, output: Path, *, limit: int, seed: int | None = None) -> None:
    """Draws the first `limit` samples of the config's training, with all augmentation, as a grid of pictures.

    The samples come from tf.data; with `data.cache="device"` training augments the same photos by other draws.

    Args:
      config: the experiment.
      output: the picture to write.
      limit: how many samples.
      seed: for order and augmentation; None for the config's, that is, what training begins with.

    Raises:
      UserError: a mistake in the config or the data; `limit` is below 1; `output` cannot be written.
    """
    from semcolor_jax.data.augment import training_ops  # needs TensorFlow, which training itself may not need

    config = checked(config)
    _check_at_least_one(limit, "--limit")
    if seed is not None:
        config = config.copy_and_resolve_references()
        config.seed = seed
    source = make_source(config, "train")
    batches = train_batches(source, ops=training_ops(config), batch_size=limit, seed=config.seed)
    (batch,) = numpy_batches(batches.take(1))
    names = [source.names[int(index)] for index in first_indices(source, limit, seed=config.seed)]
    prepared = make_preparation(config)(jax.device_put(batch), jnp.zeros((), jnp.int32))
    seen = np.asarray(prepared.lab[..., :1])
    write_image(
        output, inspection_grid(jax.device_get(prepared.batch), seen, names=names, sigma=config.loss.encoding_sigma)
    )
    print(output)


def _last_size(config: ConfigDict) -> int:
    """Returns the size of photos at the end of training: with `config.growth` it grows."""
    return config.growth.image_size if config.growth.epoch else config.data.image_size


def _check_at_least_one(number: int | None, argument: str) -> None:
    if number is not None and number < 1:
        raise UserError(f"{argument} is {number}, but must be at least 1.")
