"""Compares ways to mix regression and annealed mean into the final colour, by their scores on validation photos.

python experiments/color_choice.py --model semcolor-v1.1 --data DATA [--sides 96,128,160] [--per_set 12]

A candidate is ab = (1 - share) * regression + share * annealed mean at temperature T, times a saturation, from a
network that sees the photo with a short side of the given pixels, and also its mirror image if the name says so. The
photos are of DATA/SET/val for every set that the model was trained on, from the half that may choose (`release_sets`),
evenly spread; they are scored at a short side of 256, with equal weight for every set. Photos with a mean chroma below
3 are left out. The grey copy and the original are listed, too.
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
from release_sets import MIN_CHROMA, groups, half, spread, validation_photos

from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.files import write_json
from semcolor_jax.inference.branches import ColorChoice, Predict, branch_colors
from semcolor_jax.inference.colorize import shrink
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_predictor
from semcolor_jax.inference.strips import merge
from semcolor_jax.metrics.similarity import ab_errors, colourfulness, psnr
from semcolor_jax.photos.files import read_photo

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "Released model, or work directory of a training.")
DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
PER_SET = flags.DEFINE_integer("per_set", 12, "Photos of each data set.", lower_bound=1)
SIDES = flags.DEFINE_list("sides", ["96", "128", "160"], "Short sides in pixels that the network sees.")
OUTPUT = flags.DEFINE_string("output", "experiments/results/color_choice.json", "File of the scores.")

CHOICES = [
    *(ColorChoice("reg", saturation=saturation) for saturation in (1.0, 1.1, 1.2)),
    *(
        ColorChoice("both", temperature=temperature, share=share)
        for temperature, share in itertools.product((0.38, 0.6), (0.1, 0.2, 0.3, 0.4, 1.0))
    ),
]

Images = Mapping[str, np.ndarray]
"""RGB (h, w, 3) by the candidate's name."""


def name_of(choice: ColorChoice) -> str:
    """Returns what the tables call a candidate."""
    if choice.branch == "reg":
        return f"regression x {choice.saturation:g}"
    return f"{choice.share:g} annealed mean at {choice.temperature:g}"


def candidates(predict: Predict, photo: np.ndarray, *, side: int) -> Images:
    """Returns the photo in every candidate's colours."""
    lightness = rgb_to_lab(shrink(photo, side=side), xp=np)[None, ..., :1]
    once = _colors(predict, lightness)
    again = {key: ab[:, :, ::-1] for key, ab in _colors(predict, lightness[:, :, ::-1]).items()}
    mirrored = {key: (once[key] + again[key]) / 2 for key in once}
    return {
        name_of(choice) + suffix: merge(photo, np.asarray(_final(choice, colors)[0], np.float32))
        for suffix, colors in {"": once, ", mirrored": mirrored}.items()
        for choice in CHOICES
    }


def _colors(predict: Predict, lightness: np.ndarray) -> dict[tuple[str, float], np.ndarray]:
    """Returns the ab of each branch, by branch and temperature."""
    predictions = predict(lightness)
    return {
        (branch, temperature): ab
        for temperature in {choice.temperature for choice in CHOICES}
        for branch, ab in branch_colors(predictions, temperature=temperature).items()
    }


def _final(choice: ColorChoice, colors: Mapping[tuple[str, float], np.ndarray]) -> np.ndarray:
    return choice.apply({branch: colors[branch, choice.temperature] for branch in ("reg", "soft")})


def score(truth: np.ndarray, images: Images) -> dict[str, dict[str, float]]:
    """Returns the scores of one photo's colorings by their names."""
    stack = np.stack(list(images.values()))
    pair = np.broadcast_to(truth, stack.shape), stack
    values = {
        "psnr": psnr(*pair).pooled,
        "ab_distance": ab_errors(*pair).mean,
        "colourfulness": colourfulness(stack).absolute,
    }
    return {name: {metric: float(values[metric][i]) for metric in values} for i, name in enumerate(images)}


def chosen_photos(data: Path, *, per_set: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (data set, photo of a short side of at most 256), without almost colourless ones."""
    for name in itertools.chain(*(names for group, names in groups().items() if group != "unseen")):
        for file in spread(half(validation_photos(data, name), choosing=True), limit=per_set):
            photo = shrink(read_photo(file), side=256)
            if np.linalg.norm(rgb_to_lab(photo, xp=np)[..., 1:], axis=-1).mean() >= MIN_CHROMA:
                yield name, photo


def main(_: list[str]) -> None:
    """Scores all candidates and prints their means."""
    predict = load_predictor(MODEL.value)
    scores: dict[str, dict[str, list[dict[str, float]]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    photos = collections.Counter[str]()
    for data_set, photo in chosen_photos(Path(DATA.value), per_set=PER_SET.value):
        photos[data_set] += 1
        images = {"original": photo, "grey copy": merge(photo, np.zeros((1, 1, 2), np.float32))}
        for side in map(int, SIDES.value):
            of_side = candidates(predict, photo, side=side)
            images |= {f"{side} px, {name}": image for name, image in of_side.items()}
        for name, row in score(photo, images).items():
            scores[name][data_set].append(row)
    table = {name: _means(by_set) for name, by_set in scores.items()}
    write_json(OUTPUT.value, {"model": Path(MODEL.value).name, "photos": photos, **table})
    print(json.dumps({name: rows["all"] for name, rows in table.items()}, indent=None).replace("}, ", "},\n"))


def _means(by_set: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    of_sets = {name: _mean(rows) for name, rows in by_set.items()}
    return {"all": _mean(list(of_sets.values())), **of_sets}


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {metric: round(statistics.fmean(row[metric] for row in rows), 3) for metric in rows[0]}


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
