"""Lists the released models' data sets, and which of their validation photos choose the final colour or judge it.

Every second validation photo of a set, in the order of the names and beginning with the first, may choose the final
colour (`choosing=True`); the others only judge it. `UNSEEN` takes no part in training, trials or any choice.
"""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcolor_jax.photos.files import list_images

CONFIGS = Path(__file__).parents[1] / "configs"
UNSEEN = ("pacs_photo",)

COLUMNS = ("psnr", "ssim", "ab_distance", "lpips_alex", "colourfulness")
MIN_CHROMA = 3.0
"""Photos below this mean chroma, in CIE units, are almost colourless."""


def groups() -> Mapping[str, Sequence[str]]:
    """Returns the names of the sets by group: those of semcolor-v1, those added since, and the unseen one."""
    old = runpy.run_path(str(CONFIGS / "release.py"))["WEIGHTS"]
    every = runpy.run_path(str(CONFIGS / "release_v1_1.py"))["WEIGHTS"]
    return {"sets of v1": list(old), "new sets": [name for name in every if name not in old], "unseen": UNSEEN}


def photos_folder(data: Path, name: str) -> Path:
    """Returns the folder of a set's validation photos; of the unseen set, all its photos."""
    return data / name if name in UNSEEN else data / name / "val"


def validation_photos(data: Path, name: str) -> list[Path]:
    """Returns the files of a set's validation photos, in the order of their names.

    Raises:
      UserError: there is no such folder, or no photo in it.
    """
    photos = photos_folder(data, name)
    return list_images(photos / "images" if (photos / "images").is_dir() else photos)  # label maps lie beside it


def half(files: Sequence[Path], *, choosing: bool) -> list[Path]:
    """Returns the photos that may choose the final colour, or those that only judge it."""
    return list(files[0 if choosing else 1 :: 2])


def spread(files: Sequence[Path], *, limit: int) -> list[Path]:
    """Returns at most `limit` of the files, evenly spread over all; 0: all."""
    count = min(limit or len(files), len(files))
    return [files[index * len(files) // count] for index in range(count)]


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo's values."""

    choosing: bool  # in the half that may choose the final colour
    chroma: float  # mean of the original's
    colourfulness: float  # of the original
    values: Mapping[str, Mapping[str, Any]]  # by method: "grey" and the models' names


def summary(photos: Sequence[Photo]) -> dict[str, Any]:
    """Returns the means of each method, and what it gains over the grey copy."""
    row: dict[str, Any] = {"photos": len(photos), "colourfulness": _mean([photo.colourfulness for photo in photos])}
    for method in photos[0].values:
        row[method] = {column: _mean([photo.values[method][column] for photo in photos]) for column in COLUMNS}
    for method in photos[0].values:
        of_method, grey = row[method], row["grey"]
        of_method["psnr_above_grey"] = round(of_method["psnr"] - grey["psnr"], 4)
        of_method["ab_distance_of_grey"] = round(of_method["ab_distance"] / grey["ab_distance"], 4)
    return row


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def group_rows(photos: Mapping[str, Sequence[Photo]]) -> dict[str, dict[str, Any]]:
    """Returns a summary of each group of sets, of parts of it, and of each set."""
    rows = {}
    for group, names in groups().items():
        every = [photo for name in names for photo in photos[name]]
        parts = {group: every, f"{group}, chroma of 3 or more": [p for p in every if p.chroma >= MIN_CHROMA]}
        if group != "unseen":
            parts[f"{group}, not used for choosing"] = [photo for photo in every if not photo.choosing]
        rows |= {title: summary(part) for title, part in parts.items() if part}
    return rows | {name: summary(part) for name, part in photos.items()}
