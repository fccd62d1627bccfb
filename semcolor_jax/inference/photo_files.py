"""Colours batches of image files: a bad file does not stop the batch, and no partial file is left behind."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.files import remove_leftovers
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.finished import Finished
from semcolor_jax.inference.flat import coloured_part
from semcolor_jax.inference.hints import Hint, paint
from semcolor_jax.inference.plan import Job, make_plan
from semcolor_jax.inference.strips import Pixels, merge
from semcolor_jax.photos.encoding import QUALITY, encode, write_photos
from semcolor_jax.photos.formats import writable_format
from semcolor_jax.photos.photo import Metadata, Photo
from semcolor_jax.photos.reading import read_one, read_pages
from semcolor_jax.photos.stretch import is_faded, stretched

BATCH = 8
"""Small photos per batch of the network."""

SMALL_PIXELS, SMALL_NETWORK_PIXELS = 2**19, 3 * 2**14
"""Photos with more pixels, or with more in the network's input, go one by one: a batch must need little memory."""

Beside = Callable[[Job, Photo], None]
"""Writes the files beside a photo's result, given the original photo; raises `UserError` if it cannot."""

FADED = "looks faded: --stretch would spread its greys"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How photos are read and written.

    Attributes:
      quality: of lossy formats, 1..100.
      strip_metadata: write only the picture and its profile.
      stretch: spread faded greys over the whole range.
      tolerant: colour what is left of truncated files.
      compare: also write `NAME_compare`, the photo before and after side by side.
    """

    quality: int = QUALITY
    strip_metadata: bool = False
    stretch: bool = False
    tolerant: bool = False
    compare: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UserError(f"The quality is {self.quality}, but must lie in 1..100.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one file: written, skipped or failed.

    Attributes:
      job: the file and its target.
      status: "failed" has a `reason`, a whole sentence.
      notes: for the user, each a clause about the file.
      seconds: since the previous file.
    """

    job: Job
    status: Literal["coloured", "skipped", "failed"]
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclasses.dataclass
class _Read:
    """A job with its photo; no photo if it has several pages, which are read as they are written."""

    job: Job
    photo: Photo | None = None
    error: str = ""


def colorize_files(
    colorizer: Colorizer, paths: Iterable[str | os.PathLike[str]], out_dir: str | os.PathLike[str]
) -> list[Path]:
    """Colours image files into a folder, redoing finished ones; returns what it wrote. `make_plan` says where.

    Raises:
      UserError: the call is wrong; or, after all good photos have been written, some could not be coloured.
    """
    plan = make_plan([Path(path) for path in paths], Path(out_dir))
    outcomes = list(colorize_each(colorizer, plan.jobs))
    bad = [reason for _, reason in plan.refused] + [o.reason for o in outcomes if o.status == "failed"]
    if bad:
        raise UserError(f"{len(bad)} of {len(plan.refused) + len(outcomes)} photos were not coloured: {' '.join(bad)}")
    return [outcome.job.target for outcome in outcomes]


def colorize_each(
    colorizer: Colorizer,
    jobs: Sequence[Job],
    options: Options | None = None,
    *,
    finished: Finished | None = None,
    beside: Beside | None = None,
) -> Iterator[Outcome]:
    """Colours the files of a plan, and yields each outcome as soon as it is on disk.

    One file is read and one batch written while the network works on a third. Consecutive small photos of the same
    network shape go through it in batches; at most three larger ones are in memory.

    Args:
      colorizer: the network and its settings.
      jobs: of `make_plan`.
      options: how to read and write.
      finished: the record of the output folder; photos finished there are skipped, and new ones are added.
      beside: called in another thread for each single-page photo, before it counts as finished.

    Raises:
      UserError: the network lacks the branch that gives the colour.
    """
    options = Options() if options is None else options
    for folder in {job.target.parent for job in jobs}:
        remove_leftovers(folder)
    todo, notes = [], {}
    for job in jobs:
        state = "new" if finished is None or isinstance(job.source, bytes) else finished.state(job.source, job.target)
        if state == "finished":
            yield Outcome(job=job, status="skipped", notes=("is finished already",))
            continue
        if state == "other options":
            notes[job.name] = ("had been coloured with other options and is done again",)
        todo.append(job)
    started = time.perf_counter()
    for outcome in _colorize(colorizer, todo, options, finished, beside):
        now = time.perf_counter()
        more = (*notes.get(outcome.job.name, ()), *outcome.notes)
        yield dataclasses.replace(outcome, seconds=now - started, notes=more)
        started = now


def colorize_bytes(
    colorizer: Colorizer,
    content: bytes,
    options: Options | None = None,
    *,
    format: str | None = None,
    hints: Sequence[Hint] = (),
) -> tuple[bytes, tuple[str, ...]]:
    """Colours a photo given as the bytes of its file; returns the bytes of the result and the warnings for the user.

    Args:
      colorizer: the network and its settings.
      content: of a file in any readable format.
      options: how to read and write.
      format: one of `photos.formats.SUFFIXES`; by default the photo's own where possible.
      hints: colours that the user knows, in pixels of the upright photo.

    Raises:
      UserError: the photo cannot be read, or a hint lies outside it.
    """
    options = Options() if options is None else options
    photo = prepared(read_one(content, tolerant=options.tolerant), options)
    warnings = list(photo.warnings)
    if photo.origin.pages > 1:
        warnings.append(f"has {photo.origin.pages} pages, of which the first is written")
    photo = colorize_photo(colorizer, photo, colorizer.colors([photo.pixels])[0], hints)
    kind = format or writable_format(photo.origin, "")
    data, notes = encode(photo, format=kind, quality=options.quality)
    return data, (*warnings, *notes)


def colorize_photo(colorizer: Colorizer, photo: Photo, ab: np.ndarray, hints: Sequence[Hint] = ()) -> Photo:
    """Returns the photo with the colours of the network and the hints, overwriting its pixels in place.

    Raises:
      UserError: a hint lies outside the photo.
    """
    part = coloured_part(photo.pixels)
    return dataclasses.replace(photo, pixels=paint(photo.pixels, ab, hints, coloured=part, in_place=True))


def _colorize(
    colorizer: Colorizer, jobs: Sequence[Job], options: Options, finished: Finished | None, beside: Beside | None
) -> Iterator[Outcome]:
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        waiting: list[Future[Outcome]] = []
        for group in _groups(_read_ahead(jobs, options, reader), colorizer):
            if group[0].error:
                (bad,) = group
                yield Outcome(job=bad.job, status="failed", reason=bad.error)
                continue
            if group[0].photo is None:
                outcome = _colorize_pages(colorizer, group[0].job, options)
                if options.compare or beside is not None:
                    note = f"has {outcome.job.pages} pages, so no other pictures are made of it"
                    outcome = dataclasses.replace(outcome, notes=(*outcome.notes, note))
                yield _recorded(outcome, finished)
                continue
            try:
                colors = colorizer.colors([read.photo.pixels for read in group if read.photo is not None])
            except (MemoryError, RuntimeError) as error:
                yield from (_failed(read.job, f"could not be coloured: {error}") for read in group)
                continue
            yield from (future.result() for future in waiting)
            waiting = []
            for read, ab in zip(group, colors, strict=True):
                assert read.photo is not None
                before = read.photo.pixels.copy() if options.compare or beside else None
                try:
                    photo, read.photo = colorize_photo(colorizer, read.photo, ab, read.job.hints), None
                except UserError as error:
                    yield Outcome(job=read.job, status="failed", reason=f"{read.job.name} was not coloured: {error}")
                    continue
                waiting.append(writer.submit(_write, read.job, photo, before, options, finished, beside))
                del photo, before
        yield from (future.result() for future in waiting)


def _read_ahead(jobs: Sequence[Job], options: Options, reader: ThreadPoolExecutor) -> Iterator[_Read]:
    """Yields the photos in order while a thread reads the next one."""
    if not jobs:
        return
    following = reader.submit(_read, jobs[0], options)
    for index in range(len(jobs)):
        current = following.result()
        if index + 1 < len(jobs):
            following = reader.submit(_read, jobs[index + 1], options)
        yield current
        del current


def _read(job: Job, options: Options) -> _Read:
    if job.pages > 1:
        return _Read(job)
    try:
        return _Read(job, prepared(read_one(job.source, tolerant=options.tolerant), options))
    except UserError as error:
        return _Read(job, error=str(error))
    except MemoryError:
        return _Read(job, error=f"{job.name} does not fit into memory.")


def prepared(photo: Photo, options: Options) -> Photo:
    """Prepares a photo for colouring as the options say, with a warning if it looks faded."""
    if options.strip_metadata:
        photo = dataclasses.replace(photo, metadata=Metadata())
    if options.stretch:
        warnings = tuple(text for text in photo.warnings if "--stretch" not in text)
        return dataclasses.replace(photo, pixels=stretched(photo.pixels), warnings=warnings)
    if is_faded(photo.pixels) and not any("--stretch" in text for text in photo.warnings):
        return dataclasses.replace(photo, warnings=(*photo.warnings, FADED))
    return photo


def _groups(photos: Iterator[_Read], colorizer: Colorizer) -> Iterator[list[_Read]]:
    """Yields the photos in order: BATCH small ones of one shape together, all others alone.

    Fewer than BATCH are not padded but go one by one: two programs for each shape, and no wasted work.
    """
    waiting: list[_Read] = []
    shape = None
    for read in photos:
        if read.photo is None:
            yield from _one_by_one(waiting)
            yield [read]
            continue
        size = colorizer.network_size(read.photo.pixels)
        if waiting and size != shape:
            yield from _one_by_one(waiting)
        shape = size
        waiting.append(read)
        small = is_small(read.photo.pixels, colorizer)
        del read
        if len(waiting) == BATCH:
            yield [waiting.pop(0) for _ in range(BATCH)]
        elif not small:
            yield from _one_by_one(waiting)
    yield from _one_by_one(waiting)


def is_small(pixels: Any, colorizer: Colorizer) -> bool:
    """Says whether a photo may share a batch: `SMALL_PIXELS`, `SMALL_NETWORK_PIXELS`."""
    height, width = colorizer.network_size(pixels)
    return pixels.shape[0] * pixels.shape[1] <= SMALL_PIXELS and height * width <= SMALL_NETWORK_PIXELS


def _one_by_one(waiting: list[_Read]) -> Iterator[list[_Read]]:
    """Yields each photo as a batch and drops it from the list, so that its memory is freed."""
    while waiting:
        yield [waiting.pop(0)]


def _colorize_pages(colorizer: Colorizer, job: Job, options: Options) -> Outcome:
    """Colours a file of several pages, one page in memory at a time."""
    warnings: dict[str, None] = {}

    def pages() -> Iterator[Photo]:
        for page in read_pages(job.source, tolerant=options.tolerant):
            photo = prepared(page, options)
            warnings.update(dict.fromkeys(photo.warnings))
            yield colorize_photo(colorizer, photo, colorizer.colors([photo.pixels])[0])

    try:
        _make_folder(job.target.parent)
        notes = write_photos(job.target, pages(), format=job.format, quality=options.quality)
    except UserError as error:
        return Outcome(job=job, status="failed", reason=str(error))
    return Outcome(job=job, status="coloured", notes=(*job.notes, *warnings, *notes))


def _recorded(outcome: Outcome, finished: Finished | None) -> Outcome:
    """Records each result once it is on disk, so that a stopped run can resume."""
    if outcome.status == "coloured" and finished is not None and isinstance(outcome.job.source, Path):
        finished.add(outcome.job.source, outcome.job.target)
    return outcome


def _write(
    job: Job,
    photo: Photo,
    before: Pixels | None,
    options: Options,
    finished: Finished | None,
    beside: Beside | None,
) -> Outcome:
    try:
        _make_folder(job.target.parent)
        notes = write_photos(job.target, [photo], format=job.format, quality=options.quality)
        if options.compare and before is not None:
            pixels = np.concatenate([_grey(before), photo.pixels], axis=1)
            pair = dataclasses.replace(photo, pixels=pixels, alpha=None)
            target = job.target.with_name(f"{job.target.stem}_compare{job.target.suffix}")
            write_photos(target, [pair], format=job.format, quality=options.quality)
        if beside is not None and before is not None:
            beside(job, dataclasses.replace(photo, pixels=before))
    except UserError as error:
        return Outcome(job=job, status="failed", reason=str(error))
    except MemoryError:
        return _failed(job, "does not fit into memory")
    return _recorded(Outcome(job=job, status="coloured", notes=(*job.notes, *photo.warnings, *notes)), finished)


def _grey(pixels: Any) -> Any:
    return merge(pixels, np.zeros((1, 1, 2), np.float32))


def _failed(job: Job, problem: str) -> Outcome:
    return Outcome(job=job, status="failed", reason=f"{job.name} {problem}.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The output folder {folder} cannot be made: {error.strerror or error}.") from error
