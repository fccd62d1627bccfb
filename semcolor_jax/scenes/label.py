"""Labels every photo in a folder with its five likeliest scenes, in the scenes.json that `data.folder` reads.

Meanwhile, a folder OUTPUT.parts collects labels in files of JSON lines, each written once and never changed:

  teacher.json    which teacher made them
  *.jsonl         {"photo": path below the folder, "scenes": [[Places365 id, probability], ...]}

So a stopped run resumes where it was, any number of processes can share the photos (`Shard`), photos added later cost
only their own labelling, and another smoothing costs nothing. The process that labels the last photo writes OUTPUT.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from semcolor_jax.data.example import Source
from semcolor_jax.data.folder import list_photos
from semcolor_jax.data.scene_smoothing import gaussian_ranks
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, write_json, write_text
from semcolor_jax.photos.files import read_photo
from semcolor_jax.scenes.batching import fit_square, map_batches
from semcolor_jax.scenes.teacher import Teacher
from semcolor_jax.taxonomy.label_sets import TOP_SCENES

ReadPhoto: TypeAlias = Callable[[], UInt8[np.ndarray, "h w 3"]]
"""Reads one photo as sRGB."""

Pairs: TypeAlias = list[tuple[int, float]]
"""Places365 ids with their probabilities, likeliest first, sum 1."""

_PART = 256
"""Photos per file of labels: the most that a stopped run loses."""


class Shard(NamedTuple):
    """The share of process `number` (from 1 on) of `total` processes."""

    number: int = 1
    total: int = 1


@dataclasses.dataclass(frozen=True)
class Labelling:
    """The result of a run: photos it labelled, those left to other shards, and the file if none are left."""

    labelled: int
    left: int
    output: Path | None


def parse_shard(text: str) -> Shard:
    """Reads "2/8". Raises `UserError` if it is not i/n with i in 1..n."""
    parts = text.split("/")
    if len(parts) == 2 and all(part.isdecimal() for part in parts) and 1 <= int(parts[0]) <= int(parts[1]):
        return Shard(int(parts[0]), int(parts[1]))
    raise UserError(f"the shard {text!r} must be written i/n with i in 1..n, such as 1/4.")


def label_folder(
    folder: str | os.PathLike[str],
    teacher: Teacher,
    *,
    output: str | os.PathLike[str],
    smoothing: str = "top5",
    shard: Shard | None = None,
) -> Labelling:
    """Labels the photos of a folder, all splits and grey photos too, by their paths below it; as `label_photos`.

    `FolderSource` finds `output` if it is DIR/scenes.json.

    Raises:
      UserError: as `label_photos`; or the folder has no photos, or a photo is damaged.
    """
    root = Path(folder)
    photos = {path.relative_to(root).as_posix(): functools.partial(read_photo, path) for path in list_photos(root)}
    return label_photos(photos, teacher, output=output, smoothing=smoothing, shard=shard)


def label_sources(
    sources: Sequence[Source],
    teacher: Teacher,
    *,
    output: str | os.PathLike[str],
    smoothing: str = "top5",
    shard: Shard | None = None,
) -> Labelling:
    """Labels the samples of data sets other than folders of photos, by their names; as `label_photos`."""
    photos = {
        name: functools.partial(_read_sample, source, index)
        for source in sources
        for index, name in enumerate(source.names)
    }
    return label_photos(photos, teacher, output=output, smoothing=smoothing, shard=shard)


def label_photos(
    photos: Mapping[str, ReadPhoto],
    teacher: Teacher,
    *,
    output: str | os.PathLike[str],
    smoothing: str = "top5",
    shard: Shard | None = None,
) -> Labelling:
    """Labels the photos that have no label yet, and writes the sidecar file once all have one.

    Args:
      photos: functions that read each photo, by its name in the sidecar file; called in threads.
      teacher: classifies the photos.
      output: the sidecar file to write.
      smoothing: "top5" keeps the teacher's probabilities, "gaussian" weighs the ranks; see `data.scene_smoothing`.
      shard: this process's share of the photos; None: all.

    Raises:
      UserError: the output cannot be written or was made by hand, or another teacher made its parts.
    """
    output, shard = Path(output), shard or Shard()
    parts = open_parts(output, teacher.name)
    mine = list(photos)[shard.number - 1 :: shard.total]
    todo = unlabelled(parts, mine)
    left = sum(map(len, todo))
    with tqdm(total=len(mine), initial=len(mine) - left, desc="scenes", unit="photo") as progress:
        for names in todo:
            write_part(parts, names, [photos[name] for name in names], teacher)
            progress.update(len(names))
    return gather(parts, list(photos), output=output, smoothing=smoothing, labelled=left)


def open_parts(output: Path, teacher: str) -> Path:
    """Returns the folder that collects the labels of a teacher for the sidecar file `output`; creates it if necessary.

    Raises:
      UserError: it cannot be written, `output` was made by hand, or the labels in the folder by another teacher.
    """
    parts = output.with_suffix(".parts")
    if output.exists() and not parts.exists():
        raise UserError(f"{output} was not made by this command ({parts} is missing): move it away, or name another.")
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {parts}: {error.strerror}.") from error
    made_by = parts / "teacher.json"
    if not made_by.exists():
        write_json(made_by, {"teacher": teacher})
    known = read_json(made_by)
    if known != {"teacher": teacher}:
        raise UserError(f"{parts} holds labels of another teacher ({known}): delete it, or name another output.")
    return parts


def unlabelled(parts: Path, names: Sequence[str]) -> list[list[str]]:
    """Returns the photos without a label yet, in groups for `write_part`. Raises `UserError`."""
    done = _read_parts(parts)
    todo = [name for name in names if name not in done]
    return [todo[start : start + _PART] for start in range(0, len(todo), _PART)]


def write_part(parts: Path, names: Sequence[str], photos: Sequence[ReadPhoto], teacher: Teacher) -> None:
    """Labels photos and adds the labels to the folder. Raises `UserError` if a photo is damaged."""
    labels = _look(photos, teacher)
    lines = [json.dumps({"photo": name, "scenes": pairs}) for name, pairs in zip(names, labels, strict=True)]
    write_text(parts / f"{uuid.uuid4().hex}.jsonl", "\n".join(lines) + "\n")


def gather(parts: Path, names: Sequence[str], *, output: Path, smoothing: str, labelled: int) -> Labelling:
    """Writes the sidecar file if all photos have a label now; `labelled` is how many this run labelled.

    Raises:
      UserError: the output cannot be written, or the folder is damaged.
    """
    labels = _read_parts(parts)  # again, because other processes may have added labels
    left = sum(name not in labels for name in names)
    if not left:
        write_text(output, _sidecar({name: labels[name] for name in names}, smoothing))
    return Labelling(labelled=labelled, left=left, output=None if left else output)


def top_scenes(probabilities: np.ndarray, categories: np.ndarray) -> Pairs:
    """Returns the five highest of k probabilities with their categories, scaled to sum 1 (all k if fewer)."""
    order = np.argsort(-probabilities, stable=True)[:TOP_SCENES]
    top = probabilities[order].astype(np.float64)
    return [(int(category), round(float(p), 6)) for category, p in zip(categories[order], top / top.sum(), strict=True)]


def _read_sample(source: Source, index: int) -> UInt8[np.ndarray, "h w 3"]:
    return source.read(index).image


def _look(photos: Sequence[ReadPhoto], teacher: Teacher) -> list[Pairs]:
    """Returns the likeliest categories of each photo."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        squares = pool.map(lambda read: fit_square(read(), side=teacher.side), photos)
        return [top_scenes(row, teacher.categories) for row in map_batches(teacher.probabilities, squares)]


def _read_parts(parts: Path) -> dict[str, Pairs]:
    """Returns all labels so far, by the photo's name."""
    files = sorted(path for path in parts.glob("*.jsonl") if not path.name.startswith("."))
    lines = itertools.chain.from_iterable(path.read_text(encoding="utf-8").splitlines() for path in files)
    try:
        records = [json.loads(line) for line in lines]
        return {record["photo"]: record["scenes"] for record in records}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{parts} is damaged ({error}): delete it and label anew.") from error


def _sidecar(labels: Mapping[str, Pairs], smoothing: str) -> str:
    """Returns the file's text, a line per photo."""
    if smoothing == "gaussian":
        labels = {name: _with_gaussian_ranks(pairs) for name, pairs in labels.items()}
    lines = (f"{json.dumps(name)}: {json.dumps(pairs)}" for name, pairs in labels.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _with_gaussian_ranks(pairs: Pairs) -> Pairs:
    weights = gaussian_ranks(np.array([probability for _, probability in pairs], np.float32))
    return [(category, round(float(weight), 6)) for (category, _), weight in zip(pairs, weights, strict=True)]
