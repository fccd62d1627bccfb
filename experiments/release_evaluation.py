"""Evaluates how well models colour the validation photos of the release's data sets, as `semcolor colorize` does.

python experiments/release_evaluation.py --models semcolor-v1.1,OTHER --data DATA --output OUT

For each data set (`release_sets`) the photos of DATA/SET/val, of the unseen set all photos, are written to OUT/SET as
PNG files: the originals, the grey copies, and each model's results with its defaults. Then they are scored at full
size. `experiments/results/release_evaluation.json` has the means of each set and of the groups of sets, the latter also
without photos of a mean chroma below 3, and over the half of the photos not used to choose the final colour; and how
well the first model predicts the classes and scenes of the labelled sets. `release_evaluation.md` is the same as
tables, and OUT/grid.png shows 60 photos, drawn by seed 0. Existing files in OUT are kept.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from release_sets import Photo, group_rows, groups, half, photos_folder, spread, summary, validation_photos

from semcolor_jax import config as configs
from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.pipeline import eval_samples
from semcolor_jax.data.sources import make_source
from semcolor_jax.evaluation import table_text
from semcolor_jax.evaluation.drawing import PhotoCell, draw_rows
from semcolor_jax.evaluation.evaluate import evaluate
from semcolor_jax.evaluation.score import run as scoring
from semcolor_jax.evaluation.score.measures import make_measure
from semcolor_jax.files import write_json
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.photo_files import colorize_files
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer
from semcolor_jax.metrics.similarity import colourfulness
from semcolor_jax.photos.files import list_images, read_photo, write_image

MODELS = flags.DEFINE_list("models", [DEFAULT_MODEL], "Released models, or work directories of trainings.")
DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the coloured photos.", required=True)
LIMIT = flags.DEFINE_integer("limit", 0, "Photos of each set, evenly spread; 0: all.", lower_bound=0)
RESULT = flags.DEFINE_string("result", "experiments/results/release_evaluation.json", "File of the scores.")

METRICS = ("psnr", "ssim", "l2ab", "lpips", "colourfulness")  # of which come release_sets.COLUMNS
GRID_PHOTOS = 60
CLASS_SETS = ("coco_panoptic", "stanford_background", "labelme_facade", "camvid", "clothing")
SCENE_SETS = ("intel_scenes", "sun_scenes")  # by their folders; the other sets' scenes are a teacher's guesses


def prepare(data: Path, folder: Path, *, limit: int) -> dict[str, bool]:
    """Writes the originals and their grey copies; returns, by name, whether each may choose the final colour."""
    files = validation_photos(data, folder.name)
    chosen = set(half(files, choosing=True))
    names = {}
    for file in spread(files, limit=limit):
        name = file.relative_to(photos_folder(data, folder.name)).with_suffix(".png").as_posix().replace("/", "__")
        names[name] = file in chosen
        if not (folder / "grey" / name).exists():
            image = read_photo(file)
            for kind, pixels in {"original": image, "grey": grey_copy(rgb_to_lab(image, xp=np)[..., :1])}.items():
                (folder / kind).mkdir(parents=True, exist_ok=True)
                write_image(folder / kind / name, pixels)
    return names


def colorize(colorizer: Colorizer, folder: Path, *, method: str) -> None:
    """Colours the grey copies not coloured yet."""
    missing = [grey for grey in list_images(folder / "grey") if not (folder / method / grey.name).exists()]
    if missing:
        colorize_files(colorizer, missing, folder / method)


def score(folder: Path, methods: Sequence[str], *, choosing: Mapping[str, bool]) -> list[Photo]:
    """Returns the values of every photo."""
    result = scoring.score(
        folder / "original",
        [folder / method for method in methods],
        output=folder,
        size=None,
        measures=[make_measure(name) for name in METRICS],
    )
    for problem in result.problems:
        print(f"{folder.name}: {problem}")
    return [
        Photo(may, *_colour(folder / "original" / name), {m: result.images[m][Path(name).stem] for m in methods})
        for name, may in choosing.items()
    ]


def _colour(file: Path) -> tuple[float, float]:
    photo = read_photo(file)
    chroma = np.linalg.norm(rgb_to_lab(photo, xp=np)[..., 1:], axis=-1).mean()
    return float(chroma), float(colourfulness(photo[None]).absolute[0])


def labels(colorizer: Colorizer, sets: Sequence[str]) -> dict[str, Any]:
    """Returns the network's scores on the labels of these sets, and those of always answering the most frequent one."""
    config = configs.default()
    config.data.source = "mix"
    config.data.mix = ",".join(f"folder:{DATA.value}/{name}=1" for name in sets)
    samples = eval_samples(make_source(config, "val"), limit=LIMIT.value * len(sets))
    result = evaluate(colorizer.predictor, samples, temperature=1.0, size=colorizer.side)
    scores = result.scenes if sets is SCENE_SETS else result.segmentation
    assert scores is not None
    return {"sets": list(sets), "size": colorizer.side, **dataclasses.asdict(scores)}


def markdown(result: Mapping[str, Any]) -> str:
    """Returns the tables of a result of `main`."""
    classes, scenes = result["segmentation"], result["scenes"]
    return "\n".join(
        [
            _table(result["rows"], result["models"]),
            "",
            f"Segmentation ({classes['images']} photos of {', '.join(classes['sets'])}; {classes['classes']} classes): "
            f"mIoU {classes['mean_iou']:.1%}, pixel accuracy {classes['pixel_accuracy']:.1%}; always the most frequent "
            f"class: {classes['majority_mean_iou']:.1%}, {classes['majority_pixel_accuracy']:.1%}.",
            "",
            f"Scene ({scenes['images']} photos of {', '.join(scenes['sets'])}): top-1 {scenes['top1']:.1%}, top-5 "
            f"{scenes['top5']:.1%}; always the most frequent: {scenes['majority_top1']:.1%}, "
            f"{scenes['majority_top5']:.1%}.",
            "",
        ]
    )


def _table(rows: Mapping[str, Mapping[str, Any]], models: Sequence[str]) -> str:
    """Returns a row for each set and group; ab distances are relative to the grey copy's."""
    header = ["photos of", "number", "LPIPS of grey"]
    for model in models:
        header += [f"{model}: PSNR above grey (dB)", "ab distance", "colourfulness of the originals'", "LPIPS"]
    cells = []
    for title, row in rows.items():
        cells.append([title, str(row["photos"]), f"{row['grey']['lpips_alex']:.4f}"])
        for model in models:
            of_model = row[model]
            colourful = of_model["colourfulness"] / row["colourfulness"]
            cells[-1] += [f"{of_model['psnr_above_grey']:+.2f}", f"{of_model['ab_distance_of_grey']:.3f}"]
            cells[-1] += [f"{colourful:.2f}", f"{of_model['lpips_alex']:.4f}"]
    return table_text.markdown(header, cells)


def grid(folders: Sequence[Path], models: Sequence[str]) -> np.ndarray:
    """Draws 60 photos of all sets, three a row, each as original and in each model's colours."""
    files = [(folder, file.name) for folder in folders for file in list_images(folder / "original")]
    chosen = np.random.default_rng(0).permutation(len(files))[:GRID_PHOTOS]
    cells = [dict(_cells(*files[int(index)], models=models)) for index in chosen]
    rows = [
        {f"{caption} {k}": cell for k, photo in enumerate(cells[i : i + 3]) for caption, cell in photo.items()}
        for i in range(0, len(cells) - 2, 3)
    ]
    return draw_rows(list(rows[0]), rows)


def _cells(folder: Path, name: str, *, models: Sequence[str]) -> Iterator[tuple[str, PhotoCell]]:
    for method in ("original", *models):
        yield method, PhotoCell(read_photo(folder / method / name), folder.name if method == "original" else "")


def main(_: list[str]) -> None:
    """Colours, scores, draws."""
    colorizers = {Path(model).name: load_colorizer(model) for model in MODELS.value}
    names = [name for sets in groups().values() for name in sets]
    folders = [Path(OUTPUT.value) / name for name in names]
    photos: dict[str, list[Photo]] = {}
    for folder in folders:
        choosing = prepare(Path(DATA.value), folder, limit=LIMIT.value)
        for model, colorizer in colorizers.items():
            colorize(colorizer, folder, method=model)
        photos[folder.name] = score(folder, ["grey", *colorizers], choosing=choosing)
        print(json.dumps({folder.name: summary(photos[folder.name])}))
    first = next(iter(colorizers.values()))
    result = {"models": list(colorizers), "limit": LIMIT.value, "size": "full", "rows": group_rows(photos)}
    result |= {"segmentation": labels(first, CLASS_SETS), "scenes": labels(first, SCENE_SETS)}
    write_json(RESULT.value, result)
    Path(RESULT.value).with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))
    write_image(Path(OUTPUT.value) / "grid.png", grid(folders, list(colorizers)))


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
