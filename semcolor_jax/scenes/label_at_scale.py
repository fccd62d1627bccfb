"""Labels scenes as `scenes.label` does, into the same files, on an engine's workers, by Apache Beam (`data.beam`)."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from semcolor_jax.data import beam
from semcolor_jax.data.example import Source
from semcolor_jax.data.folder import list_photos
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, write_json
from semcolor_jax.photos.files import read_photo
from semcolor_jax.scenes.label import Labelling, ReadPhoto, gather, open_parts, unlabelled, write_part
from semcolor_jax.scenes.teacher import Teacher, load_teacher

OpenSources: TypeAlias = Callable[[], Sequence[Source]]
"""Opens data sets, in any process: a picklable function."""

_Open: TypeAlias = Callable[[], Callable[[str], ReadPhoto]]
"""Called in a worker: maps a photo's name to the function that reads it."""


def label_folder_on(
    options: Any,
    folder: str | os.PathLike[str],
    teacher: Teacher,
    *,
    output: str | os.PathLike[str],
    smoothing: str = "top5",
) -> Labelling:
    """Labels the photos of a folder as `scenes.label.label_folder` does, on an engine.

    Args:
      options: of `data.beam.pipeline_options`.
      folder: of the photos. All workers see it, the teacher's file and the output's folder under the same paths.
      teacher: one read by `load_teacher`: every worker process reads its file again.
      output: the sidecar file to write.
      smoothing: as `label_photos`.

    Raises:
      UserError: as `label_folder`, and as `data.beam.share_out`: all other photos have been labelled by then.
    """
    root = Path(folder).absolute()
    names = [path.relative_to(root).as_posix() for path in list_photos(root)]
    return _label(options, names, functools.partial(_open_folder, root), teacher, Path(output), smoothing)


def label_sources_on(
    options: Any,
    open_sources: OpenSources,
    teacher: Teacher,
    *,
    output: str | os.PathLike[str],
    smoothing: str = "top5",
) -> Labelling:
    """Labels the samples of data sets other than folders, by their names; otherwise as `label_folder_on`."""
    names = [name for source in open_sources() for name in source.names]
    return _label(options, names, functools.partial(_open_named, open_sources), teacher, Path(output), smoothing)


def _label(
    options: Any, names: Sequence[str], open_photos: _Open, teacher: Teacher, output: Path, smoothing: str
) -> Labelling:
    if teacher.path is None:
        raise ValueError("a teacher that no file holds cannot be given to other processes")
    parts = open_parts(output.absolute(), teacher.name)
    groups = unlabelled(parts, names)
    if groups:  # millions of names would be too much for a pipeline's description
        todo = parts / f"todo-{uuid.uuid4().hex}.json"
        write_json(todo, groups)
        try:
            prepare = functools.partial(_labeller, open_photos, teacher.path, teacher.name, parts, todo)
            beam.share_out(range(len(groups)), prepare, folder=parts, options=options)
        finally:
            todo.unlink()
    result = gather(parts, names, output=output, smoothing=smoothing, labelled=sum(map(len, groups)))
    if result.left:
        raise UserError(f"{result.left} labels are missing in {parts}, {beam.SAME_PATHS}.")
    return result


def _labeller(open_photos: _Open, teacher: Path, made_by: str, parts: Path, todo: Path) -> beam.Work[int]:
    """Reads the teacher in a worker; returns the function that labels a group of photos, given its number."""
    photo, loaded, groups = open_photos(), load_teacher(teacher), read_json(todo)
    if loaded.name != made_by:
        raise UserError(f"a worker's teacher is {loaded.name}, not {made_by}: give all workers the same file.")

    def label(number: int) -> None:
        write_part(parts, groups[number], [photo(name) for name in groups[number]], loaded)

    return label


def _open_folder(root: Path) -> Callable[[str], ReadPhoto]:
    return lambda name: functools.partial(read_photo, root / name)


def _open_named(open_sources: OpenSources) -> Callable[[str], ReadPhoto]:
    places = {name: (source, index) for source in open_sources() for index, name in enumerate(source.names)}

    def photo(name: str) -> ReadPhoto:
        source, index = places[name]
        return lambda: source.read(index).image

    return photo
