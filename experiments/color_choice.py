"""How regression and annealed mean should make the final colour: every candidate's scores on validation photos.

python experiments/color_choice.py --workdir runs/release [--sides 96,128,160] [--per_set 20]

A candidate is ab = (1 - share) * regression + share * annealed mean at temperature T, times a saturation, from a
network that sees the photo with a short side of so many pixels. The photos are those of the training's own validation
split, evenly spread over each data set of the mix; they are scored at full size. Beside the candidates stand the grey
copy and the original. --output names the file to write.
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

from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.example import Sample
from semcolor_jax.data.mix import parse_mix
from semcolor_jax.data.pipeline import eval_samples
from semcolor_jax.data.sources import make_source
from semcolor_jax.files import write_json
from semcolor_jax.inference.branches import ColorChoice, Predict, branch_colors
from semcolor_jax.inference.colorize import shrink
from semcolor_jax.inference.restore import load_predictor
from semcolor_jax.inference.strips import merge
from semcolor_jax.metrics.lpips import Lpips
from semcolor_jax.metrics.similarity import of_pair

WORKDIR = flags.DEFINE_string("workdir", None, "Work directory of the training.", required=True)
PER_SET = flags.DEFINE_integer("per_set", 20, "Photos of each data set.", lower_bound=1)
SIDES = flags.DEFINE_list("sides", ["96", "128", "160"], "Short sides in pixels that the network sees.")
OUTPUT = flags.DEFINE_string("output", "experiments/results/color_choice.json", "File of the scores.")

CHOICES = [
    *(ColorChoice("reg", saturation=saturation) for saturation in (1.0, 1.2)),
    *(
        ColorChoice("both", temperature=temperature, share=share, saturation=saturation)
        for temperature, share, saturation in itertools.product((0.38, 0.6), (0.2, 0.3, 0.4, 0.6, 1.0), (1.0,))
    ),
]

Images = Mapping[str, np.ndarray]
"""RGB (h, w, 3) by the candidate's name."""


def name_of(choice: ColorChoice) -> str:
    """Returns what the tables call a candidate."""
    if choice.branch == "reg":
        return f"regression x {choice.saturation:g}"
    return f"{choice.share:g} annealed mean at {choice.temperature:g} x {choice.saturation:g}"


def candidates(predict: Predict, photo: np.ndarray, *, side: int) -> Images:
    """Returns the photo in every candidate's colours."""
    predictions = predict(rgb_to_lab(shrink(photo, side=side), xp=np)[None, ..., :1])
    by_temperature = {
        temperature: branch_colors(predictions, temperature=temperature)
        for temperature in {choice.temperature for choice in CHOICES}
    }
    return {
        name_of(choice): merge(photo, np.asarray(choice.apply(by_temperature[choice.temperature])[0], np.float32))
        for choice in CHOICES
    }


def score(truth: np.ndarray, images: Images, *, lpips: Lpips) -> dict[str, dict[str, float]]:
    """Returns the scores of one photo's colorings by their names."""
    stack = np.stack(list(images.values()))
    distances = lpips(np.broadcast_to(truth, stack.shape), stack)
    scores = {}
    for (name, image), distance in zip(images.items(), distances, strict=True):
        values = of_pair(truth, image)
        scores[name] = {metric: values[metric] for metric in ("psnr", "ab_distance", "colourfulness")}
        scores[name]["lpips"] = float(distance)
    return scores


def validation_photos(workdir: Path, *, per_set: int) -> Iterator[tuple[str, Sample]]:
    """Yields (data set, photo) of the validation split."""
    config = load_config(workdir)
    for part in parse_mix(config.data.mix):
        one = config.copy_and_resolve_references()
        one.data.source, one.data.dir = part.source, part.dir
        for sample in eval_samples(make_source(one, "val"), limit=per_set):
            yield Path(part.dir).name, sample


def main(_: list[str]) -> None:
    """Scores all candidates and prints their means."""
    workdir = Path(WORKDIR.value)
    predict, lpips = load_predictor(workdir), Lpips("alex")
    scores: dict[str, dict[str, list[dict[str, float]]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for data_set, sample in validation_photos(workdir, per_set=PER_SET.value):
        photo = shrink(sample.image, side=256)  # the photo, in one of a few shapes
        images = {"original": photo, "grey copy": merge(photo, np.zeros((1, 1, 2), np.float32))}
        for side in map(int, SIDES.value):
            of_side = candidates(predict, photo, side=side)
            images |= {f"{side} px, {name}": image for name, image in of_side.items()}
        for name, row in score(photo, images, lpips=lpips).items():
            scores[name][data_set].append(row)
    table = {name: _means(by_set) for name, by_set in scores.items()}
    write_json(OUTPUT.value, {"photos_per_set": PER_SET.value, **table})
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
