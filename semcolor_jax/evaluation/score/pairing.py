"""Pairs coloured photos with their originals and reports those that cannot be paired."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import list_images

ORIGINALS = "original"
"""The name under which the originals themselves are measured."""

EXCLUDED = {
    "missing": "no coloured photo",
    "no original": "no original",
    "duplicate": "several files of one stem",
    "size": "size differs from the original's",
    "unreadable": "unreadable file",
}
"""Kinds of problems that exclude a pair from every mean, and their names in tables."""

NOTED = {"grayscale": "greyscale result, scored", "too small": "too small for a metric, which leaves it out"}
"""Kinds that are reported, but leave the pair in the means."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with one pair: a kind in `EXCLUDED` or `NOTED`, its method and stem, and the details."""

    kind: str
    method: str
    stem: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Pairing:
    """The files of each method by stem, including the originals, and those without a partner.

    Attributes:
      files: for `ORIGINALS` and each method, in the order of the command line: stem to file, sorted by stem. A method's
            stems are all stems of originals.
      problems: of the kinds "missing", "no original" and "duplicate".
    """

    files: Mapping[str, Mapping[str, Path]]
    problems: tuple[Problem, ...]

    @property
    def methods(self) -> list[str]:
        """All but the originals."""
        return [name for name in self.files if name != ORIGINALS]


def pair_folders(originals: Path, colorized: Sequence[Path]) -> Pairing:
    """Pairs photos by their file names without suffix, ignoring subfolders.

    If a folder has several files with the same stem, none is used, since it is unclear which is meant.

    Raises:
      UserError: a folder is missing or has no photos, or a method has no photo of any original.
    """
    truth, problems = _by_stem(originals, method=ORIGINALS)
    files: dict[str, dict[str, Path]] = {ORIGINALS: truth}
    for name, folder in zip(_names(colorized), colorized, strict=True):
        found, duplicates = _by_stem(folder, method=name)
        problems += duplicates
        ambiguous = {problem.stem for problem in problems if problem.method in (name, ORIGINALS)}
        for stem in sorted(truth.keys() - found.keys() - ambiguous):
            problems.append(Problem("missing", name, stem, f"no photo {stem!r} in {folder}"))
        for stem in sorted(found.keys() - truth.keys() - ambiguous):
            problems.append(Problem("no original", name, stem, f"no original for {found[stem]}"))
        files[name] = {stem: path for stem, path in found.items() if stem in truth}
        if not files[name]:
            raise UserError(
                f"no photo in {folder} has the name of one in {originals}: coloured photos are paired with originals "
                "by their file names without suffix."
            )
    return Pairing(files=files, problems=tuple(problems))


def _names(folders: Sequence[Path]) -> list[str]:
    """Returns the folders' last names if these are distinct, else the folders as given."""
    names = [folder.resolve().name for folder in folders]
    counts = collections.Counter([*names, ORIGINALS])
    names = [name if counts[name] == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise UserError(f"the folder {name} is given twice.")
    return names


def _by_stem(folder: Path, *, method: str) -> tuple[dict[str, Path], list[Problem]]:
    groups = collections.defaultdict(list)
    for path in list_images(folder):
        groups[path.stem].append(path)
    if not groups:
        raise UserError(f"there are no photos in {folder}.")
    problems = [
        Problem("duplicate", method, stem, ", ".join(str(path) for path in paths))
        for stem, paths in sorted(groups.items())
        if len(paths) > 1
    ]
    return {stem: paths[0] for stem, paths in sorted(groups.items()) if len(paths) == 1}, problems
