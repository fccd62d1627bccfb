"""Writes the whole report: tables, figures, and the page `paper.md` that shows them and says what is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semcolor_jax.checkpoints.models import find_model
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.score.pairing import ORIGINALS, pair_folders
from semcolor_jax.files import write_text
from semcolor_jax.inference.restore import load_colorizer
from semcolor_jax.photos.files import write_image

from . import curves, datasets, pictures, tables
from .layout import TEST_SETS, PhotoSet, method_title
from .scoring import SetScore, Settings, score_sets

logger = logging.getLogger("semcolor_jax.paper_report")

CASES = {
    "div2k_valid": (13, 14),
    "imagenet_ctest1k": (15, 16),
    "places365_ctest1k": (17, 18),
    "coco_stuff_ctest1k": (19, 20),
}
"""Figure numbers for success and failure of each set."""


class Figure(NamedTuple):
    """A figure of the paper: its number, what it shows and by which rule, its file, or why there is none."""

    number: int
    caption: str
    file: str | None
    missing: str = ""


def make_report(
    sets: Mapping[str, PhotoSet],
    *,
    output: Path,
    settings: Settings,
    method: str = "segclasregsoft",
    count: int = 5,
    model: str | None = None,
    models: Mapping[str, Path] | None = None,
    labelled: datasets.Labelled | None = None,
) -> Path:
    """Scores what is not scored yet, and writes all tables and figures; returns the page that shows them.

    Args:
      sets: from `layout.find_sets`.
      output: folder to write to.
      settings: for scoring.
      method: whose successes and failures are shown.
      count: photos in a grid.
      model: work directory or released model for the segmentation views, if any.
      models: the model of each method, for Table 2.
      labelled: a data set with label maps, for Table 1 and Fig. 9.

    Raises:
      UserError: a mistake in the settings, a missing model, or an output that cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    workdir = None if model is None else find_model(model)  # mistakes are reported before the scoring
    plain = datasets.write_tables([datasets.table_1(sets, labelled), datasets.table_2(models or {})], output)
    scores = score_sets(sets, output=output / "scores", settings=settings)
    made = [
        tables.similarity_table(
            "table3",
            "Table 3: similarity on ImageNet ctest1k and DIV2K validation",
            ("imagenet_ctest1k", "div2k_valid"),
            scores,
        ),
        tables.similarity_table(
            "table4",
            "Table 4: similarity on Places365 ctest1k and COCO-Stuff ctest1k",
            ("places365_ctest1k", "coco_stuff_ctest1k"),
            scores,
        ),
        tables.perceptual_table(scores),
    ]
    for table in made:
        texts = {"md": tables.markdown(table), "tex": tables.latex(table), "csv": tables.as_csv(table)}
        for suffix, text in texts.items():
            write_text(output / f"{table.name}.{suffix}", text)
    figures = [
        *_data_sets(
            sets, labelled, count=count, labels=settings.classifiers.get("places365", (None, None))[1], output=output
        ),
        _curves(scores, output),
    ]
    for name, numbers in CASES.items():
        figures += _cases(
            sets[name], scores[name], numbers, method=method, count=count, size=settings.size, output=output
        )
    for number, name, colored in ((21, "internet", True), (22, "legacy", False)):
        figures.append(_first(number, sets[name], count=count, colored=colored, output=output))
    figures.append(_segmentation(sets, workdir, count=count, output=output))
    page = output / "paper.md"
    write_text(page, _page([*plain, *map(tables.markdown, made)], figures))
    return page


def _data_sets(
    sets: Mapping[str, PhotoSet], labelled: datasets.Labelled | None, *, count: int, labels: Path | None, output: Path
) -> list[Figure]:
    """Makes the figures of the data sets."""
    first = f"the first {count} by name"
    places, div2k = sets["places365_ctest1k"], sets["div2k_valid"]
    return [
        _write(
            9,
            f"photos with label maps, the first {count} for validation",
            output,
            lambda: datasets.draw_segmentation_data(labelled, count=count),
        ),
        _write(
            10,
            f"{places.title}, {first}, with their classes where these are known",
            output,
            lambda: datasets.draw_photos(places, count=count, labels=labels),
        ),
        _write(11, f"{div2k.title}, {first}", output, lambda: datasets.draw_photos(div2k, count=count)),
    ]


def _curves(scores: Mapping[str, SetScore], output: Path) -> Figure:
    caption = "cumulative histograms of the ab distance, over all pixels of the photos of a set that a method has"
    panels = {
        TEST_SETS[name]: {method_title(m): scored.score.curves[n] for m, n in scored.names.items()}
        for name, scored in scores.items()
        if scored.score is not None
    }
    if not panels:
        return Figure(12, caption, None, "no test set has scores.")
    return _write(12, caption, output, lambda: curves.draw_curves(panels))


def _cases(
    photos: PhotoSet,
    scored: SetScore,
    numbers: tuple[int, int],
    *,
    method: str,
    count: int,
    size: int | None,
    output: Path,
) -> list[Figure]:
    """Makes the figures of success and failure of one set."""
    rule = f"{photos.title}, the photos on which {method_title(method)} gains {{}} in PSNR over the grey copy"
    captions = rule.format("most"), rule.format("least (or loses most)")
    try:
        chosen = pictures.success_and_failure(pictures.gains(photos, scored, method=method, size=size), count=count)
    except UserError as error:
        return [Figure(n, caption, None, str(error)) for n, caption in zip(numbers, captions, strict=True)]
    figures = []
    for number, caption, some in zip(numbers, captions, chosen, strict=True):
        if some:
            figures.append(
                _write(number, caption, output, lambda some=some: pictures.draw_chosen(photos, scored, some))
            )
        else:
            figures.append(Figure(number, caption, None, "there is only one photo."))
    return figures


def _first(number: int, photos: PhotoSet, *, count: int, colored: bool, output: Path) -> Figure:
    caption = f"{photos.title}, the first {count} by name"
    return _write(number, caption, output, lambda: pictures.draw_first(photos, count=count, colored=colored))


def _segmentation(sets: Mapping[str, PhotoSet], workdir: Path | None, *, count: int, output: Path) -> Figure:
    """Draws segmentation views of COCO-Stuff, or else of the first set that has photos."""
    order = ("coco_stuff_ctest1k", *sets)
    photos = next((sets[name] for name in order if sets[name].original), None)
    if photos is None or photos.original is None or workdir is None:
        missing = "no set has photos." if photos is None else "no network was named (--model)."
        return Figure(23, "segmentation views", None, missing)
    files = pair_folders(photos.original, []).files[ORIGINALS]
    first = dict(list(files.items())[:count])
    caption = f"{photos.title}, the first {count} by name: colours and segmentation by {workdir.name}"
    return _write(23, caption, output, lambda: pictures.draw_segmentation(first, load_colorizer(workdir)))


def _write(number: int, caption: str, output: Path, draw: Callable[[], np.ndarray]) -> Figure:
    """Draws a figure and writes it; if data are missing, the figure says so."""
    try:
        picture = draw()
    except UserError as error:
        logger.warning("Fig. %d is left out: %s", number, error)
        return Figure(number, caption, None, str(error))
    file = f"fig{number:02}.png"
    write_image(output / file, picture)
    return Figure(number, caption, file)


def _page(made: list[str], figures: list[Figure]) -> str:
    parts = ["# Tables and figures of section V", *made]
    for figure in figures:
        body = f"![Fig. {figure.number}]({figure.file})" if figure.file else f"Not drawn: {figure.missing}"
        parts.append(f"**Fig. {figure.number}**: {figure.caption}.\n\n{body}\n")
    return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts)
