"""How well a model colours the validation photos of the release's data sets, as `semcolor colorize` does.

python experiments/release_evaluation.py --model semcolor-v1 --data DATA --output OUT

For each data set of `configs/release.py` the photos of DATA/SET/val are written to OUT/SET as PNG files: the originals,
the grey copies, and what the model makes of these by its defaults and by its regression alone. Then they are scored at
full size. `experiments/results/release_evaluation.json` has the means of each set and of all photos together, and how
well the network names the classes and scenes of the labelled sets; `release_evaluation.md` is the same as a table, and
OUT/grid.png shows 60 photos, drawn by seed 0 (original, default colours, regression). Whatever is in OUT already is not
made again.
"""

from __future__ import annotations

import dataclasses
import json
import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

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
from semcolor_jax.inference.branches import ColorChoice, grey_copy
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.photo_files import colorize_files
from semcolor_jax.inference.restore import load_colorizer
from semcolor_jax.metrics.similarity import colourfulness
from semcolor_jax.photos.files import list_images, read_photo, write_image

MODEL = flags.DEFINE_string("model", "semcolor-v1", "Released model, or work directory of a training.")
DATA = flags.DEFINE_string("data", None, "Folder of the data sets.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the coloured photos.", required=True)
LIMIT = flags.DEFINE_integer("limit", 0, "Photos of each set, evenly spread; 0: all.", lower_bound=0)
RESULT = flags.DEFINE_string("result", "experiments/results/release_evaluation.json", "File of the scores.")

METHODS = ("grey", "regression", "default")
METRICS = ("psnr", "ssim", "l2ab", "lpips", "colourfulness")
COLUMNS = ("psnr", "ssim", "ab_distance", "lpips_alex", "colourfulness")
GRID_PHOTOS = 60
CLASS_SETS = ("coco_panoptic", "stanford_background", "labelme_facade", "camvid", "clothing")
SCENE_SETS = ("intel_scenes", "sun_scenes")  # by their folders; the other sets' scenes are a teacher's guesses


def prepare(photos: Path, folder: Path, *, limit: int) -> None:
    """Writes the originals and their grey copies, called after their place below `photos`."""
    files = list_images(photos / "images" if (photos / "images").is_dir() else photos)  # beside it lie label maps
    count = min(limit or len(files), len(files))
    for file in (files[i * len(files) // count] for i in range(count)):
        name = file.relative_to(photos).with_suffix(".png").as_posix().replace("/", "__")
        image = read_photo(file)
        for kind in ("original", "grey"):
            target = folder / kind / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                lightness = rgb_to_lab(image, xp=np)[..., :1]
                write_image(target, image if kind == "original" else grey_copy(lightness))


def colorize(colorizer: Colorizer, folder: Path, *, method: str) -> None:
    """Colours the grey copies that have not been coloured yet."""
    missing = [grey for grey in list_images(folder / "grey") if not (folder / method / grey.name).exists()]
    if missing:
        colorize_files(colorizer, missing, folder / method)


def score(folder: Path) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Returns the values of every photo, by method and name."""
    result = scoring.score(
        folder / "original",
        [folder / method for method in METHODS],
        output=folder,
        size=None,
        measures=[make_measure(name) for name in METRICS],
    )
    for problem in result.problems:
        print(f"{folder.name}: {problem}")
    return result.images


def summary(images: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Returns the means of each method, and what it gains over the grey copy."""
    means = {
        method: {column: round(float(np.mean([row[column] for row in rows])), 4) for column in COLUMNS}
        for method, rows in images.items()
    }
    grey = means["grey"]
    for method, row in means.items():
        row["psnr_above_grey"] = round(row["psnr"] - grey["psnr"], 4)
        row["ab_distance_of_grey"] = round(row["ab_distance"] / grey["ab_distance"], 4)
        row["photos"] = len(images[method])
    return means


def labels(colorizer: Colorizer, sets: Sequence[str]) -> dict[str, Any]:
    """Returns how the network does on the labels of these sets, beside always answering the most frequent one."""
    config = configs.default()
    config.data.source = "mix"
    config.data.mix = ",".join(f"folder:{DATA.value}/{name}=1" for name in sets)
    samples = eval_samples(make_source(config, "val"), limit=LIMIT.value * len(sets))
    result = evaluate(colorizer.predictor, samples, temperature=1.0, size=colorizer.side)
    scores = result.scenes if sets is SCENE_SETS else result.segmentation
    assert scores is not None
    return {"sets": list(sets), "size": colorizer.side, **dataclasses.asdict(scores)}


def markdown(result: Mapping[str, Any]) -> str:
    """Returns the table of a result of `main`."""
    first = ("photos of", "number", "PSNR above grey (dB)", "ab distance of grey's", "colourfulness of the originals'")
    rows = []
    for name in (*data_sets(), "all"):
        row = result[name]
        chosen = row["default"]
        colourful = chosen["colourfulness"] / row["original"]["colourfulness"]
        lpips = [f"{row[method]['lpips_alex']:.4f}" for method in METHODS]
        above, distance = f"{chosen['psnr_above_grey']:+.2f}", f"{chosen['ab_distance_of_grey']:.3f}"
        rows.append([name, str(chosen["photos"]), above, distance, f"{colourful:.2f}", *lpips])
    classes, scenes = result["segmentation"], result["scenes"]
    return "\n".join(
        [
            table_text.markdown([*first, "LPIPS: grey", "regression", "default"], rows),
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


def grid(folders: Sequence[Path]) -> np.ndarray:
    """Draws 60 photos of all sets, three a row, each as original, default colours and regression."""
    files = [(folder, file.name) for folder in folders for file in list_images(folder / "original")]
    chosen = np.random.default_rng(0).permutation(len(files))[:GRID_PHOTOS]
    cells = [dict(_cells(*files[index])) for index in chosen]
    rows = [
        {f"{caption} {k}": cell for k, photo in enumerate(cells[i : i + 3]) for caption, cell in photo.items()}
        for i in range(0, len(cells) - 2, 3)
    ]
    return draw_rows(list(rows[0]), rows)


def _cells(folder: Path, name: str) -> Iterator[tuple[str, PhotoCell]]:
    for method in ("original", "default", "regression"):
        yield method, PhotoCell(read_photo(folder / method / name), folder.name if method == "original" else "")


def data_sets() -> list[str]:
    """Returns the names of the data sets in `configs/release.py`."""
    return list(runpy.run_path(str(Path(__file__).parents[1] / "configs" / "release.py"))["WEIGHTS"])


def main(_: list[str]) -> None:
    """Colours, scores, draws."""
    default = load_colorizer(MODEL.value)
    regression = Colorizer(default.predictor, side=default.side, choice=ColorChoice("reg"))
    everything: dict[str, list[Mapping[str, float]]] = {method: [] for method in METHODS}
    truth: list[float] = []
    table: dict[str, Any] = {}
    folders = [Path(OUTPUT.value) / name for name in data_sets()]
    for folder in folders:
        prepare(Path(DATA.value) / folder.name / "val", folder, limit=LIMIT.value)
        colorize(default, folder, method="default")
        colorize(regression, folder, method="regression")
        images = score(folder)
        rows = {method: list(images[method].values()) for method in METHODS}
        table[folder.name] = summary(rows)
        for method, values in rows.items():
            everything[method] += values
        originals = [_colourfulness(file) for file in list_images(folder / "original")]
        table[folder.name]["original"] = {"colourfulness": round(float(np.mean(originals)), 4)}
        truth += originals
        print(json.dumps({folder.name: table[folder.name]}))
    table["all"] = {**summary(everything), "original": {"colourfulness": round(float(np.mean(truth)), 4)}}
    table["segmentation"], table["scenes"] = labels(default, CLASS_SETS), labels(default, SCENE_SETS)
    write_json(RESULT.value, {"model": MODEL.value, "limit": LIMIT.value, "size": "full", **table})
    Path(RESULT.value).with_suffix(".md").write_text(markdown(table), encoding="utf-8")
    print(markdown(table))
    write_image(Path(OUTPUT.value) / "grid.png", grid(folders))


def _colourfulness(file: Path) -> float:
    return float(colourfulness(read_photo(file)[None]).absolute[0])


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
