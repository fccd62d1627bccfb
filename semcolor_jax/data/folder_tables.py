"""Translates a folder's class and scene names to COCO-Stuff ids and Places365 categories.

labels.json holds {"ignore": id or null, "unlabeled": id or null, "classes": {"0": name, ...}}, where pixels of the
unlabeled id become COCO-Stuff's class 0 and those of the ignored id are ignored. scenes.json holds {photo's path:
[[Places365 index or name, probability], ...]}, up to five each; the probabilities are scaled to sum 1. A name means
what the folder's own `taxonomy.yaml` says, else the table in `taxonomy.label_sets` with the folder's name, else the
COCO-Stuff class or Places365 category of the same name. Tables come first, because the same name can mean different
things: a facade's "door" is COCO-Stuff's "door-stuff", while its "door" was never annotated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt8

from semcolor_jax.data.example import Scene, no_scene
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json
from semcolor_jax.taxonomy.label_sets import (
    IGNORE_LABEL,
    NUM_SCENES,
    PLACES365,
    TOP_SCENES,
    Taxonomy,
    coco_stuff_id,
    load_taxonomy,
    places365_id,
    taxonomy_names,
)

UNLABELED = 0
"""COCO-Stuff's class of unlabelled pixels."""


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """Maps the ids in label maps to COCO-Stuff.

    Attributes:
      labels: (256,) label of each id: 0..182, or 255 for ignore.
      known: the ids that labels.json names.
    """

    labels: UInt8[np.ndarray, " 256"]
    known: frozenset[int]

    def apply(self, ids: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Returns the label map of a map of ids."""
        return self.labels[ids]


@dataclasses.dataclass(frozen=True)
class FolderTables:
    """The folder's own names of classes and scenes, translated.

    Attributes:
      labels: the meaning of ids in label maps; empty if there is no labels.json.
      scenes: what scenes.json says, by the photo's path below the folder.
      taxonomy: the meaning of names that are not COCO-Stuff's or Places365's.
    """

    labels: LabelTable
    scenes: Mapping[str, Scene]
    taxonomy: Taxonomy

    def scene(self, name: str) -> Scene:
        """Returns the scene of the photo at the path `name`: from scenes.json, else from its parent folders."""
        if name in self.scenes:
            return self.scenes[name]
        for folder in reversed(PurePosixPath(name).parts[:-1]):
            target = self.taxonomy.scenes.get(folder, folder)
            if target in PLACES365:
                return scene_of({places365_id(target): 1.0})
        return no_scene()


def load_folder_tables(root: Path) -> FolderTables:
    """Reads labels.json, scenes.json and taxonomy.yaml of a folder, as far as they exist.

    Raises:
      UserError: if one of them is malformed, or names a class or scene that does not exist.
    """
    taxonomy = _find_taxonomy(root)
    return FolderTables(
        labels=_load_labels(root / "labels.json", taxonomy),
        scenes=_load_scenes(root / "scenes.json"),
        taxonomy=taxonomy,
    )


def scene_of(probabilities: Mapping[int, float]) -> Scene:
    """Returns up to five Places365 ids with their probabilities, scaled to sum 1, likeliest first."""
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    total = math.fsum(probabilities.values())
    scene = no_scene()
    for place, (index, probability) in enumerate(ranked):
        scene.indices[place] = index
        scene.probabilities[place] = probability / total
    return scene


def _find_taxonomy(root: Path) -> Taxonomy:
    if (root / "taxonomy.yaml").is_file():
        return load_taxonomy(root / "taxonomy.yaml")
    name = root.resolve().name
    return load_taxonomy(name) if name in taxonomy_names() else Taxonomy(labels={}, scenes={})


def _load_labels(path: Path, taxonomy: Taxonomy) -> LabelTable:
    labels = np.full(256, IGNORE_LABEL, np.uint8)
    if not path.is_file():
        return LabelTable(labels=labels, known=frozenset())
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("classes"), dict):
        raise UserError(f'{path} must hold {{"ignore": id or null, "classes": {{"0": name, ...}}}}.')
    meaning = {_pixel_id(i, path): _label(name, taxonomy, path) for i, name in content["classes"].items()}
    for key, label in (("unlabeled", UNLABELED), ("ignore", IGNORE_LABEL)):
        if content.get(key) is not None:
            meaning[_pixel_id(content[key], path)] = label
    labels[list(meaning)] = list(meaning.values())
    return LabelTable(labels=labels, known=frozenset(meaning))


def _load_scenes(path: Path) -> Mapping[str, Scene]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold {{photo's path: [[scene, probability], ...]}}.")
    return {name: _scene(pairs, f"{path}: {name}") for name, pairs in content.items()}


def _label(name: Any, taxonomy: Taxonomy, path: Path) -> int:
    if name in taxonomy.labels:
        return taxonomy.label_id(name)
    try:
        return coco_stuff_id(str(name))
    except UserError as error:
        raise UserError(f"{path}: {error} Rename it, or map it in a taxonomy.yaml beside.") from error


def _pixel_id(value: Any, path: Path) -> int:
    text = str(value)
    if not text.isdecimal() or int(text) > 255:
        raise UserError(f"{path}: {value!r} is no id of a label map, which are 0..255.")
    return int(text)


def _scene(pairs: Any, where: str) -> Scene:
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise UserError(f"{where}: the scene must be a list of [Places365 index or name, probability].")
    if not 1 <= len(pairs) <= TOP_SCENES:
        raise UserError(f"{where}: there are {len(pairs)} scenes, but 1 to {TOP_SCENES} are wanted.")
    probabilities: dict[int, float] = {}
    for scene, probability in pairs:
        if not isinstance(probability, int | float) or not 0 <= probability < math.inf:
            raise UserError(f"{where}: {probability!r} is no probability.")
        index = _scene_index(scene, where)
        probabilities[index] = probabilities.get(index, 0.0) + probability
    if not any(probabilities.values()):
        raise UserError(f"{where}: all probabilities are 0; leave the photo out instead.")
    return scene_of(probabilities)


def _scene_index(scene: Any, where: str) -> int:
    if isinstance(scene, int) and 0 <= scene < NUM_SCENES:
        return scene
    try:
        return places365_id(str(scene))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
