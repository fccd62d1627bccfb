"""How regression and annealed mean should make the final colour: every candidate's scores on validation photos.

python experiments/color_choice.py --workdir runs/release

A candidate is ab = (1 - share) * regression + share * annealed mean at temperature T, times a saturation. The photos
are those of the training's own validation split, evenly spread over each data set of the mix, at the size at which the
network sees them. Beside each candidate stand the grey copy and the original. --output names the file to write.
"""

from __future__ import annotations

import collections
import itertools
import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from absl import app, flags

from semcolor_jax import cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.data.mix import parse_mix
from semcolor_jax.data.pipeline import eval_samples
from semcolor_jax.data.sources import make_source
from semcolor_jax.evaluation import similarity
from semcolor_jax.evaluation.branches import Predict, branch_colors, recombine
from semcolor_jax.evaluation.evaluate import resize
from semcolor_jax.files import write_json
from semcolor_jax.inference.restore import load_predictor
from semcolor_jax.training.checkpoints import load_config

WORKDIR = flags.DEFINE_string("workdir", None, "Work directory of the training.", required=True)
PER_SET = flags.DEFINE_integer("per_set", 40, "Photos of each data set.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", "experiments/results/color_choice.json", "File of the scores.")

TEMPERATURES = (0.2, 0.38, 0.6, 0.8, 1.0)
SHARES = (0.3, 0.5, 0.7, 1.0)
SATURATIONS = (1.0, 1.2, 1.4)

Colors = Mapping[str, np.ndarray]
"""ab (h, w, 2) by the candidate's name."""


def candidates(predict: Predict, lightness: np.ndarray) -> Colors:
    """Returns every candidate's colours for one photo."""
    predictions = predict(lightness[None])
    by_temperature = {t: branch_colors(predictions, temperature=t) for t in TEMPERATURES}
    regression = by_temperature[TEMPERATURES[0]]["reg"][0]
    colors = {"grey copy": np.zeros_like(regression)}
    for saturation in SATURATIONS:
        colors[f"regression x {saturation:g}"] = regression * saturation
        for temperature, share in itertools.product(TEMPERATURES, SHARES):
            soft = by_temperature[temperature]["soft"][0]
            mixed = (1 - share) * regression + share * soft
            colors[f"{share:g} annealed mean at {temperature:g} x {saturation:g}"] = mixed * saturation
    return colors


def score(truth: np.ndarray, image: np.ndarray) -> dict[str, float]:
    """Returns the scores of one coloured photo."""
    return {
        "psnr": similarity.capped_psnr(truth, image),
        "ab_distance": similarity.ab_distance(truth, image),
        "colourfulness": similarity.colourfulness(image),
    }


def validation_photos(workdir: Path, *, per_set: int) -> Iterator[tuple[str, Sample]]:
    """Yields (data set, photo) of the validation split, shrunk to the size at which the network sees photos."""
    config = load_config(workdir)
    side = config.inference.side
    for part in parse_mix(config.data.mix):
        one = config.copy_and_resolve_references()
        one.data.source, one.data.dir = part.source, part.dir
        for sample in eval_samples(make_source(one, "val"), limit=per_set):
            height, width = sample.image.shape[:2]
            scale = min(1.0, side / min(height, width))
            yield Path(part.dir).name, resize(sample, height=round(height * scale), width=round(width * scale))


def main(_: list[str]) -> None:
    """Scores all candidates and prints the ten that trade colour for error best."""
    workdir = Path(WORKDIR.value)
    predict = load_predictor(workdir)
    scores: dict[str, dict[str, list[dict[str, float]]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for data_set, sample in validation_photos(workdir, per_set=PER_SET.value):
        lightness = rgb_to_lab(sample.image, xp=np)[..., :1]
        scores["original"][data_set].append(score(sample.image, sample.image))
        for name, ab in candidates(predict, lightness).items():
            scores[name][data_set].append(score(sample.image, recombine(lightness, ab)))
    table = {name: _means(by_set) for name, by_set in scores.items()}
    write_json(OUTPUT.value, {"photos_per_set": PER_SET.value, "side": load_config(workdir).inference.side, **table})
    print(json.dumps({name: rows["all"] for name, rows in table.items()}, indent=None).replace("}, ", "},\n"))


def _means(by_set: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    everything = [row for rows in by_set.values() for row in rows]
    groups = {"all": everything, **by_set}
    return {
        group: {metric: round(statistics.fmean(row[metric] for row in rows), 3) for metric in rows[0]}
        for group, rows in groups.items()
    }


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
