"""What the two command lines do: `launch.py` and `python -m semcolor_jax` only parse and call these."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from semcolor_jax import config as configs
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data import embedded
from semcolor_jax.data.folder import Split
from semcolor_jax.data.photos import write_image
from semcolor_jax.data.pipeline import eval_samples
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import report
from semcolor_jax.evaluation.branches import grey_copy
from semcolor_jax.evaluation.evaluate import EvaluationResult
from semcolor_jax.evaluation.evaluate import evaluate as evaluate_samples
from semcolor_jax.evaluation.grids import sample_grid
from semcolor_jax.inference.colorize import colorize_files
from semcolor_jax.inference.restore import load_colorizer, load_predictor
from semcolor_jax.training import loop
from semcolor_jax.training.checkpoints import load_config, make_workdir

logger = logging.getLogger(__name__)


def train(config: ConfigDict | None, workdir: Path) -> None:
    """Trains the config in the work directory, or goes on where it stopped."""
    if config is None:
        config = load_config(workdir)
    loop.train(config, workdir)
    logger.info("training is complete: %s", workdir)


def evaluate(config: ConfigDict | None, workdir: Path, *, split: Split = "val") -> EvaluationResult:
    """Evaluates the newest checkpoint of the work directory on a split of the config's data.

    Writes WORKDIR/metrics.json and WORKDIR/samples.png and prints the table. Without a config the one of the
    training is used; with one, only its data, seed and inference sections matter.
    """
    trained = load_config(workdir)
    config = config or trained
    configs.validate(config)
    predictor = load_predictor(workdir)
    samples = list(eval_samples(make_source(config, split), limit=config.train.eval_samples))
    temperature = config.inference.temperature
    result = evaluate_samples(predictor, samples, temperature=temperature, size=config.data.image_size)
    shown = samples[:: max(1, len(samples) // config.train.grid_samples)][: config.train.grid_samples]
    make_workdir(workdir)
    write_image(workdir / "samples.png", sample_grid(predictor, shown, temperature=temperature))
    report.write_json(workdir / "metrics.json", result)
    print(report.format_table(result))
    return result


def colorize(photos: Sequence[str], *, output: str | None, workdir: Path) -> list[Path]:
    """Colorizes photos with the newest checkpoint of the work directory; each keeps its name and size.

    Raises:
      UserError: no photo or no output folder given; a photo that cannot be read.
    """
    if not photos:
        raise UserError("No photo to colorize: name at least one file or folder.")
    if not output:
        raise UserError("No output folder: give one with --output DIR (or -o DIR).")
    written = colorize_files(load_colorizer(workdir), [Path(photo) for photo in photos], Path(output))
    for path in written:
        print(path)
    return written


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
