"""Plans which files are coloured and where they go: detects inputs by content and gives each its own output."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from semcolor_jax.errors import UserError
from semcolor_jax.inference.hints import Hint
from semcolor_jax.photos.encoding import with_suffix_of
from semcolor_jax.photos.formats import RAW_SUFFIXES, SUFFIXES, writable_format
from semcolor_jax.photos.reading import examine

_LIKE_A_PHOTO = (
    *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes),
    *RAW_SUFFIXES,
    *(".gif", ".pgm", ".pbm", ".pcx", ".sgi", ".qoi"),
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to colour.

    Attributes:
      source: path or content.
      target: the file to write.
      format: the target's, one of `photos.formats.SUFFIXES`.
      pages: photos in the file; all go into the target.
      notes: on the plan for the user, such as another format.
      hints: colours that the user knows, in pixels of the upright photo; for files of one page.
    """

    source: Path | bytes
    target: Path
    format: str
    pages: int = 1
    notes: tuple[str, ...] = ()
    hints: tuple[Hint, ...] = ()

    @property
    def name(self) -> str:
        """The source's name in messages."""
        return "standard input" if isinstance(self.source, bytes) else os.fspath(self.source)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of one call: files to colour, files that cannot be coloured (and why), files that are not photos."""

    jobs: list[Job]
    refused: list[tuple[Path, str]]
    passed_over: list[Path]


def make_plan(
    paths: Sequence[Path], out_dir: Path, *, format: str | None = None, suffix: str = "", folder_names: bool = True
) -> Plan:
    """Decides where the result of each input goes, and of each file in input folders.

    A folder stands for all photos below it, recognised by content; hidden files and everything in `out_dir` are
    skipped. Paths inside a folder are kept; of several folders, each keeps its own name. A photo keeps its name if its
    format can hold the result, and otherwise gets another format's suffix.

    Args:
      paths: files and folders.
      out_dir: the folder to write to; need not exist.
      format: for all results, one of `photos.formats.SUFFIXES`; by default each file's own where possible.
      suffix: appended to every name, before the dot.
      folder_names: whether several folders keep their own names.

    Raises:
      UserError: nothing to colour, the output folder is an input, two photos would be written to one file, or an output
            would replace an input.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f"The output folder {out_dir} cannot be made: there is a file of that name.")
    plan = Plan([], [], [])
    found = list(_expand(paths, out_dir, suffix, folder_names=folder_names))
    wanted: list[tuple[Path, Path, str, int, tuple[str, ...]]] = []
    for source, place, named in found:
        try:
            origin = examine(source)
        except UserError as error:
            if named or source.suffix.lower() in _LIKE_A_PHOTO:
                plan.refused.append((source, str(error)))
            else:
                plan.passed_over.append(source)
            continue
        kind = format or writable_format(origin, place.suffix)
        keeps = place.suffix.lower() in SUFFIXES[kind] or (format is None and kind == _same(origin.format))
        target = out_dir / (place if keeps else with_suffix_of(place, SUFFIXES[kind][0]))
        target = target.with_name(_with_ending(target, suffix))
        notes = (
            () if keeps or format else (f"is written as {target.name}, since {origin.format} cannot hold the result",)
        )
        wanted.append((source, target, kind, origin.pages if kind == "TIFF" else 1, notes))
    if not wanted and not plan.refused:
        raise UserError(_nothing(paths, plan.passed_over))
    plan.jobs.extend(_distinct(wanted, [source for source, _, _ in found]))
    return plan


def _same(format: str) -> str:
    return {"MPO": "JPEG", "DIB": "BMP"}.get(format, format)


def _with_ending(path: Path, ending: str) -> str:
    return f"{path.stem}{ending}{path.suffix}" if ending else path.name


def _distinct(wanted: Sequence[tuple[Path, Path, str, int, tuple[str, ...]]], inputs: Sequence[Path]) -> list[Job]:
    """Returns the jobs after checks that no file is written twice or replaces an input."""
    owners: dict[Path, Path] = {}
    for source, target, _, _, notes in wanted:
        if not notes:
            if target in owners:
                raise UserError(
                    f"{owners[target]} and {source} would both be written to {target}; use two output folders."
                )
            owners[target] = source
    jobs = []
    for source, target, kind, pages, notes in wanted:
        if notes and owners.setdefault(target, source) != source:
            whole = target.with_name(source.name + target.suffix)  # a.gif beside a.png
            notes = (notes[0].replace(target.name, whole.name),)
            target = whole
            owners[target] = source
        jobs.append(Job(source, target, kind, pages, notes))
    real = {os.path.realpath(source): source for source in inputs}
    for job in jobs:
        replaced = real.get(os.path.realpath(job.target))
        if replaced is not None:
            raise UserError(
                f"The output {job.target} would replace the input {replaced}; choose another output folder."
            )
    return jobs


def _expand(
    paths: Sequence[Path], out_dir: Path, ending: str, *, folder_names: bool
) -> Iterator[tuple[Path, Path, bool]]:
    """Yields every input file, its path inside the output folder, and whether the call names it."""
    several = folder_names and sum(path.is_dir() for path in paths) > 1
    for path in paths:
        if not path.is_dir():
            yield path, Path(path.name), True
            continue
        if os.path.realpath(path) == os.path.realpath(out_dir) and not ending:
            raise UserError(
                f"The output folder {out_dir} is the input folder: name another one, or give --suffix to write the "
                "coloured photos beside the others."
            )
        base = Path(path.resolve().name) if several else Path()
        for file in _files_below(path, out_dir):
            if not (ending and file.stem.endswith(ending)):  # results of an earlier run
                yield file, base / file.relative_to(path), False


def _files_below(folder: Path, out_dir: Path) -> Iterator[Path]:
    """Yields the files below a folder in order; links are followed; hidden ones and the output folder are left out."""
    output, seen = os.path.realpath(out_dir), set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen or (real == output and real != os.path.realpath(folder)):
            folders.clear()
            continue
        seen.add(real)  # a link back up leads here again
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith("."))


def _nothing(paths: Sequence[Path], passed_over: Sequence[Path]) -> str:
    folders = ", ".join(os.fspath(path) for path in paths)
    if not paths:
        return "There is nothing to colour; name at least one photo or folder."
    return f"The folder {folders} holds no photos to colour" + (
        f" ({len(passed_over)} other files)." if passed_over else "."
    )
