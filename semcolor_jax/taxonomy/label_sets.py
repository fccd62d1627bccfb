"""Names and ids of the two label sets the network predicts, and tables that map other label sets onto them.

COCO-Stuff (Caesar, Uijlings and Ferrari 2018) numbers its classes here as in its published `labels.txt`: 0
is unlabeled, 1..91 are COCO's things with the names that were never annotated ("street sign", "hat", ...),
92..182 is stuff. A pixel of the stuffthingmaps holds that number minus one, and 255 for unlabeled.
Places365 (Zhou et al. 2017) is numbered as in its published `categories_places365.txt`, with the leading
letter folder left out.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import UInt8

from semcolor_jax.errors import UserError

IGNORE_LABEL = 255
"""Label of ignored pixels."""

NUM_SEG_CLASSES = 183
"""COCO-Stuff: 182 ids of the stuffthingmaps, and unlabeled as class 0."""

NUM_SCENES = 365
"""Places365 categories."""

TOP_SCENES = 5
"""How many (index, probability) pairs describe a scene."""

IGNORE = "ignore"
"""Target of classes without a COCO-Stuff equivalent, and of folders that are not scenes despite their name."""

_TABLES = resources.files("semcolor_jax.taxonomy") / "tables"


def _lines(file: str) -> tuple[str, ...]:
    return tuple((_TABLES / file).read_text(encoding="utf-8").splitlines())


COCO_STUFF = _lines("coco_stuff.txt")
"""Names of the 183 classes; the position is the id in label maps."""

PLACES365 = _lines("places365.txt")
"""Names of the 365 scene categories, such as "apartment_building/outdoor"; the position is the id."""


@dataclasses.dataclass(frozen=True)
class Taxonomy:
    """How the names of one data set map to ours.

    Attributes:
      labels: COCO-Stuff name, or "ignore", of each class of the data set.
      scenes: Places365 name, or "ignore", of each scene folder of the data set.
    """

    labels: Mapping[str, str]
    scenes: Mapping[str, str]

    def label_id(self, name: str) -> int:
        """Returns the label (0..182, or 255 for ignore) of the data set's class `name`.

        Raises:
          UserError: if the table has no such class.
        """
        if name not in self.labels:
            raise UserError(f"{name!r} is no class of this table; {_hint(name, self.labels)}.")
        target = self.labels[name]
        return IGNORE_LABEL if target == IGNORE else coco_stuff_id(target)


def coco_stuff_id(name: str) -> int:
    """Returns the id (0..182) of a COCO-Stuff class.

    Raises:
      UserError: if there is no such class; names the closest ones.
    """
    return _position(name, _COCO_STUFF_IDS, "COCO-Stuff class")


def places365_id(name: str) -> int:
    """Returns the id (0..364) of a Places365 category.

    Raises:
      UserError: if there is no such category; names the closest ones.
    """
    return _position(name, _PLACES365_IDS, "Places365 category")


def taxonomy_names() -> tuple[str, ...]:
    """Returns the names of the tables that come with the package."""
    files = (Path(entry.name) for entry in _TABLES.iterdir())
    return tuple(sorted(file.stem for file in files if file.suffix == ".yaml"))


def load_taxonomy(name_or_path: str | os.PathLike[str]) -> Taxonomy:
    """Reads a table: one of `taxonomy_names()`, or a YAML file in the same format.

    The file holds `labels: {class: COCO-Stuff name or "ignore"}`, `scenes: {folder: Places365 name or "ignore"}`,
    or both.

    Raises:
      UserError: if there is no such table, or it is malformed, or a target does not exist.
    """
    if name_or_path in taxonomy_names():
        packaged = _TABLES / f"{name_or_path}.yaml"
        return _parse(packaged.read_text(encoding="utf-8"), f"taxonomy {name_or_path}")
    try:
        text = Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(taxonomy_names())
        raise UserError(
            f"Taxonomy {os.fspath(name_or_path)!r} is neither a readable YAML file nor one of: {known}."
        ) from error
    return _parse(text, os.fspath(name_or_path))


@functools.cache
def coco_stuff_palette() -> UInt8[np.ndarray, "256 3"]:
    """Returns an sRGB colour per label, for drawing segmentations.

    Common classes have memorable colours (sky bluish, vegetation green, ground brown, people red); the others get, one
    by one, the colour of an RGB grid farthest from all colours used so far. Labels that are no class, such as 255, are
    black.
    """
    palette = np.zeros((256, 3), np.uint8)
    for name, color in _COMMON_COLORS.items():
        palette[coco_stuff_id(name)] = tuple(bytes.fromhex(color))
    levels = np.arange(40, 251, 30)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    given = np.concatenate([np.zeros((1, 3), int), palette[palette.any(axis=-1)]])
    distance = np.linalg.norm(grid[:, None] - given[None], axis=-1).min(axis=1)
    for name in COCO_STUFF:
        if name not in _COMMON_COLORS:
            farthest = grid[distance.argmax()]
            palette[coco_stuff_id(name)] = farthest
            distance = np.minimum(distance, np.linalg.norm(grid - farthest, axis=-1))
    palette.flags.writeable = False
    return palette


def _parse(text: str, where: str) -> Taxonomy:
    try:
        table = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(table, dict) or not table or not table.keys() <= {"labels", "scenes"}:
        raise UserError(f"{where} must hold the tables `labels` and/or `scenes`, and nothing else.")
    tables = {key: table.get(key, {}) for key in ("labels", "scenes")}
    for key, names in tables.items():
        if not isinstance(names, dict) or not all(isinstance(n, str) for pair in names.items() for n in pair):
            raise UserError(f"{where}: `{key}` must map names to names; quote names such as null, yes or 12.")
    try:
        for target in tables["labels"].values():
            if target != IGNORE:
                coco_stuff_id(target)
        for target in tables["scenes"].values():
            if target != IGNORE:
                places365_id(target)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return Taxonomy(**tables)


def _position(name: str, ids: Mapping[str, int], kind: str) -> int:
    if name not in ids:
        raise UserError(f"{name!r} is no {kind}; {_hint(name, tuple(ids))}.")
    return ids[name]


def _hint(name: str, names: Sequence[str] | Mapping[str, str]) -> str:
    containing = [known for known in names if name and name in known]
    similar = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    closest = list(dict.fromkeys(containing + similar))[:5]
    return f"the closest names are: {', '.join(closest)}" if closest else "no name comes close"


_COCO_STUFF_IDS = {name: i for i, name in enumerate(COCO_STUFF)}
_PLACES365_IDS = {name: i for i, name in enumerate(PLACES365)}

_COMMON_COLORS = {
    "unlabeled": "505050",
    "person": "dc143c",
    "clothes": "f06e8c",
    "cat": "ff8c00",
    "dog": "c86400",
    "car": "7d28c8",
    "truck": "5f0a96",
    "motorcycle": "c800c8",
    "bicycle": "eb64eb",
    "sky-other": "87ceeb",
    "clouds": "dcebfa",
    "fog": "c8d2dc",
    "sea": "0050c8",
    "river": "1e78d2",
    "water-other": "3296dc",
    "snow": "f5faff",
    "tree": "228b22",
    "grass": "7cdc3c",
    "bush": "3cb45a",
    "leaves": "5aa028",
    "plant-other": "78c878",
    "potted plant": "00b482",
    "moss": "6e8c1e",
    "flower": "ffaac8",
    "dirt": "8b5a2b",
    "ground-other": "a07850",
    "mud": "5f3c1e",
    "sand": "e6c88c",
    "rock": "786e64",
    "stone": "968c82",
    "mountain": "646e8c",
    "hill": "82965a",
    "road": "696973",
    "pavement": "a5a5af",
    "building-other": "b4643c",
    "house": "c8785a",
    "roof": "a03214",
    "wall-other": "d2be9b",
    "floor-other": "af9678",
    "floor-wood": "b98246",
    "floor-tile": "beaa96",
    "wall-brick": "aa5046",
    "wall-concrete": "b9b4aa",
    "wall-wood": "af784b",
    "wall-panel": "d7c8b4",
    "wall-stone": "a09682",
    "wall-tile": "dcd7c8",
    "ceiling-other": "e6e1d2",
    "window-other": "b4dcd7",
    "door-stuff": "8c6e50",
    "curtain": "b482a0",
    "structural-other": "7d8291",
    "metal": "8c96a0",
    "light": "fff096",
    "fence": "6e5a46",
    "bench": "7d4619",
    "chair": "cd6e28",
    "couch": "b9551e",
    "shelf": "73462d",
    "cabinet": "825532",
    "furniture-other": "96643c",
    "cardboard": "d2a064",
    "bird": "ffb432",
    "horse": "aa5a0a",
    "bus": "9650e6",
    "train": "6428a0",
    "airplane": "b48cff",
    "boat": "4646c8",
    "table": "91501e",
    "dining table": "a56428",
}
"""sRGB, hexadecimal."""
