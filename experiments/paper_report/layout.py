"""Finds the photos of the paper's section V: a folder per test set, with the originals and a folder per method."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from semcolor_jax.data.test_sets import TEST_SETS as PUBLISHED_SETS
from semcolor_jax.data.test_sets import PublishedTestSource
from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import write_image

ORIGINAL = "original"
"""Name of the folder of the photos themselves."""

TEST_SETS: Mapping[str, str] = {
    "imagenet_ctest1k": "ImageNet ctest1k",
    "div2k_valid": "DIV2K validation",
    "places365_ctest1k": "Places365 ctest1k",
    "coco_stuff_ctest1k": "COCO-Stuff ctest1k",
}
"""Titles of the four test sets, in the paper's order."""

WITHOUT_TRUTH: Mapping[str, str] = {"internet": "Internet photos", "legacy": "legacy photos"}
"""Sets that are shown but not scored."""

METHODS: Mapping[str, str] = {
    "iizuka2016": "Iizuka et al.",
    "larsson2016": "Larsson et al.",
    "zhang2016": "Zhang et al.",
    "regsoft": "RegSoft",
    "clasregsoft": "ClasRegSoft",
    "segclasregsoft": "SegClasRegSoft",
}
"""Titles of the methods of Table 2, in its order; the last three are the paper's own."""


@dataclasses.dataclass(frozen=True)
class PhotoSet:
    """The folders of one set.

    Attributes:
      name: of `TEST_SETS` or `WITHOUT_TRUTH`.
      original: folder of the photos, or None if there is none.
      methods: folder of each method that has one: those of `METHODS` first, in their order, others by name.
      home: the folder that is searched for them.
    """

    name: str
    original: Path | None
    methods: Mapping[str, Path]
    home: Path

    @property
    def title(self) -> str:
        """The set's name in tables and captions."""
        return {**TEST_SETS, **WITHOUT_TRUTH}[self.name]


def method_title(method: str) -> str:
    """Returns a method's name in tables; one that is not in the paper keeps the name of its folder."""
    return METHODS.get(method, method)


def find_sets(results: Path, given: Sequence[str] = ()) -> dict[str, PhotoSet]:
    """Finds the folders of all sets, including sets without any.

    Args:
      results: folder with SET/original and SET/METHOD.
      given: "SET/METHOD=FOLDER" for folders that lie elsewhere; METHOD may be "original".

    Raises:
      UserError: `results` is not a folder; a given text is malformed, or has an unknown set or no folder.
    """
    if not results.is_dir():
        raise UserError(f"there is no folder {results}.")
    elsewhere: dict[tuple[str, str], Path] = {}
    for text in given:
        key, separator, folder = text.partition("=")
        name, slash, method = key.partition("/")
        if not (separator and slash and method and folder):
            raise UserError(f"--folder {text!r} is not of the form SET/METHOD=FOLDER.")
        check_set(name, option="--folder")
        if not Path(folder).is_dir():
            raise UserError(f"--folder {text}: there is no folder {folder}.")
        elsewhere[name, method] = Path(folder)
    return {name: _find(results / name, elsewhere) for name in (*TEST_SETS, *WITHOUT_TRUTH)}


def check_set(name: str, *, option: str, known: Iterable[str] = (*TEST_SETS, *WITHOUT_TRUTH)) -> None:
    """Raises `UserError` if an option names an unknown set."""
    if name not in known:
        raise UserError(f"{option} names the set {name!r}, but there are: {', '.join(known)}.")


def _find(home: Path, elsewhere: Mapping[tuple[str, str], Path]) -> PhotoSet:
    children = sorted(home.iterdir()) if home.is_dir() else []
    found = {child.name: child for child in children if child.is_dir() and not child.name.startswith(".")}
    found |= {method: folder for (name, method), folder in elsewhere.items() if name == home.name}
    original = found.pop(ORIGINAL, None)
    order = [*(method for method in METHODS if method in found), *sorted(found.keys() - METHODS.keys())]
    return PhotoSet(home.name, original, {method: found[method] for method in order}, home)


def archives_in(folder: Path) -> list[str]:
    """Returns "SET=ARCHIVE" for every set whose published archive lies in the folder.

    Raises:
      UserError: none does.
    """
    found = [
        f"{name}={path}"
        for name in TEST_SETS
        for path in [next((folder / a for a in PUBLISHED_SETS[name].archives if (folder / a).is_file()), None)]
        if path
    ]
    if not found:
        names = ", ".join(" or ".join(published.archives) for published in PUBLISHED_SETS.values())
        raise UserError(f"{folder} holds none of the published archives: {names}.")
    return found


def unpack(results: Path, given: Sequence[str], *, limit: int | None = None) -> None:
    """Writes the photos of published archives to SET/original, as lossless PNG files.

    Args:
      results: the folder of the sets; created if missing.
      given: "SET=ARCHIVE", as `semcolor_jax.data.test_sets` takes them. Sets with a complete folder are skipped.
      limit: takes only the first photos of each set; the archive may then hold fewer than the published one.

    Raises:
      UserError: a malformed text, an unknown set, or an archive that is not the published one.
    """
    for text in given:
        name, separator, archive = text.partition("=")
        if not separator:
            raise UserError(f"--unpack {text!r} is not of the form SET=ARCHIVE.")
        check_set(name, option="--unpack", known=tuple(TEST_SETS))
        source = PublishedTestSource(name, archive, limit=limit)
        folder = results / name / ORIGINAL
        folder.mkdir(parents=True, exist_ok=True)
        for index, photo in enumerate(source.names):
            target = folder / Path(photo).with_suffix(".png")
            if not target.exists():
                write_image(target, source.read(index).image)
