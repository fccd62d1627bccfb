"""Makes Tables 1 and 2 and Figs. 9 to 11 of the paper: the data sets, and the compared methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.config import VARIANTS, default
from semcolor_jax.data.example import Source
from semcolor_jax.data.mix import parse_mix
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import table_text
from semcolor_jax.evaluation.drawing import Cell, PhotoCell, class_map, draw_rows, scene_title
from semcolor_jax.evaluation.evaluate import resize
from semcolor_jax.evaluation.table_text import escape_latex
from semcolor_jax.files import write_text
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.metrics.classification import places365_names, read_labels
from semcolor_jax.photos.files import list_images, read_photo

from .layout import METHODS, PhotoSet, method_title
from .pictures import SIDE, Photo, fit

SETS = {
    "COCO-Stuff": ("coco_stuff_ctest1k", (118_000, 5_000, 1_000)),
    "Places365": ("places365_ctest1k", (None, None, 1_000)),
    "DIV2K": ("div2k_valid", (None, None, 100)),
    "ImageNet": ("imagenet_ctest1k", (None, None, 1_000)),
}
"""The rows of Table 1: the test set, and the paper's numbers of photos for training, validation and testing."""

_BRANCHES = {"scene": "(1)", "reg": "(2)", "soft": "(3)", "seg": "(4)"}
"""The numbers of the branches in Fig. 8 and section V-C."""


@dataclasses.dataclass(frozen=True)
class PlainTable:
    """A table of text: `name` is that of its files, `notes` stand beneath."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def texts(self) -> dict[str, str]:
        """Returns the table by suffix: Markdown, LaTeX for the package booktabs, and CSV."""
        header, *rows = ([escape_latex(cell) for cell in row] for row in (self.header, *self.rows))
        notes = "".join(f"- {note}\n" for note in self.notes)
        return {
            "md": f"## {self.title}\n\n{table_text.markdown(self.header, self.rows)}\n\n{notes}",
            "tex": table_text.latex(header, rows) + "\n",
            "csv": table_text.as_csv([self.header, *self.rows]),
        }


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A data set with label maps: COCO-Stuff in the paper."""

    train: Source
    val: Source


def open_labelled(text: str) -> Labelled:
    """Returns both splits of `SOURCE:DIR`, such as "coco_stuff:DATA" or "folder:DIR".

    Raises:
      UserError: a malformed text, or no such data.
    """
    (part,) = parse_mix(text)
    config = default()
    config.data.source, config.data.dir = part.source, part.dir
    return Labelled(train=make_source(config, "train"), val=make_source(config, "val"))


def table_1(sets: Mapping[str, PhotoSet], labelled: Labelled | None) -> PlainTable:
    """Counts the available photos, beside the paper's numbers."""
    parts = ("training", "validation", "testing")
    rows = []
    for title, (name, stated) in SETS.items():
        taught = labelled if title == "COCO-Stuff" else None
        original = sets[name].original
        tested = len(list_images(original)) if original else None
        counts = (len(taught.train), len(taught.val), tested) if taught else (None, None, tested)
        rows.append((title, *(_number(n) for n in counts), *(_number(n) for n in stated)))
    header = ("set", *parts, *(f"{part} (paper)" for part in parts))
    notes = () if labelled else ("Training and validation: no data set was named (--labelled SOURCE:DIR).",)
    return PlainTable("table1", "Table 1: number of photos", header, tuple(rows), notes)


def table_2(models: Mapping[str, Path]) -> PlainTable:
    """Lists the methods with the branches that each has (Fig. 8), and the model that coloured by it."""
    rows = []
    for method in [*METHODS, *(name for name in models if name not in METHODS)]:
        branches = " + ".join(sorted(_BRANCHES[branch] for branch in VARIANTS.get(method, ())))
        rows.append((method_title(method), branches or "-", models[method].name if method in models else ""))
    notes = (
        "(1) scene, (2) regression, (3) colour distribution, (4) segmentation.",
        "Without a model: photos of the method come from its folder, if there are any.",
    )
    return PlainTable("table2", "Table 2: comparison methods", ("method", "branches", "model"), tuple(rows), notes)


def draw_segmentation_data(labelled: Labelled | None, *, count: int) -> Photo:
    """Draws the first labelled validation photos beside their label maps (Fig. 9).

    Raises:
      UserError: there is no data set, or none of its photos has a label map.
    """
    if labelled is None:
        raise UserError("no data set with label maps was named (--labelled SOURCE:DIR).")
    rows: list[dict[str, Cell]] = []
    for index in range(len(labelled.val)):
        sample = labelled.val.read(index)
        if np.all(sample.labels == 255):
            continue
        scale = min(1.0, SIDE / max(sample.labels.shape))
        height, width = (max(1, round(side * scale)) for side in sample.labels.shape)
        sample = resize(sample, height=height, width=width)
        grey = grey_copy(rgb_to_lab(sample.image, xp=np)[..., :1])
        rows.append({"photo": PhotoCell(sample.image, sample.name), "classes": class_map(grey, sample.labels)})
        if len(rows) == count:
            break
    if not rows:
        raise UserError("no validation photo has a label map.")
    return draw_rows(list(rows[0]), rows)


def draw_photos(photos: PhotoSet, *, count: int, labels: Path | None = None) -> Photo:
    """Draws the first photos of a set by name in one row, each over its name or its Places365 class (Figs. 10, 11).

    Raises:
      UserError: there are no photos, or the file of the labels cannot be read.
    """
    if photos.original is None:
        raise UserError(f"there is no folder {photos.home / 'original'}.")
    classes = read_labels(labels, classes=365, names=places365_names()) if labels else {}
    row: dict[str, Cell] = {}
    for file in sorted(list_images(photos.original))[:count]:
        note = scene_title(classes[file.stem]) if file.stem in classes else ""
        row[file.stem] = PhotoCell(fit(read_photo(file)), note)
    return draw_rows(list(row), [row])


def write_tables(tables: Sequence[PlainTable], output: Path) -> list[str]:
    """Writes every table in every form to the folder; returns their Markdown. Raises `UserError` if it cannot."""
    for table in tables:
        for suffix, text in table.texts().items():
            write_text(output / f"{table.name}.{suffix}", text)
    return [table.texts()["md"] for table in tables]


def _number(count: int | None) -> str:
    return "" if count is None else str(count)
