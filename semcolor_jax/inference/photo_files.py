"""Colouring image files into a folder: what is read and written where, and in which batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from semcolor_jax.errors import UserError
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.strips import merge
from semcolor_jax.photos.files import list_images, open_image, read_photo, write_image

BATCH = 8
"""Small photos that the network sees at once."""

SMALL_PIXELS, SMALL_NETWORK_PIXELS = 2**19, 3 * 2**14
"""Photos with more pixels, or seen by the network with more, go one by one: a batch must need little memory."""

WRITABLE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""The file formats that hold 8-bit RGB and so can be written under the input's name."""

Photo = tuple[Path, UInt8[np.ndarray, "height width 3"]]
"""A decoded photo, and where its coloured form goes."""


def colorize_files(
    colorizer: Colorizer, paths: Iterable[str | os.PathLike[str]], out_dir: str | os.PathLike[str]
) -> list[Path]:
    """Colours image files into a folder, under the same names and in the same sizes; returns what it wrote.

    A folder among `paths` stands for all images below it, whose places in it are kept; images in `out_dir`
    itself are not taken as input. `out_dir` is created. All inputs are checked before the first photo is
    coloured, and each file appears complete or not at all. Small photos that follow each other and have the same
    shape for the network go through it in batches.

    Raises:
      UserError: an input is missing, not an image, or of a format that cannot be written; two inputs have the
        same name; an output would replace an input; the folder cannot be written; there is nothing to colour.
    """
    out_dir = Path(out_dir)
    targets = _plan([Path(path) for path in paths], out_dir)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        # One photo is read and one batch is written while the network works on a third.
        written: list[Future[None]] = []
        for batch in _batches(_read_ahead(targets, reader), colorizer):
            colors = colorizer.colors([photo for _, photo in batch])
            _wait(written)
            written = [
                writer.submit(write_image, target, merge(photo, ab, in_place=True))
                for (target, photo), ab in zip(batch, colors, strict=True)
            ]
        _wait(written)
    return list(targets.values())


def _read_ahead(targets: Mapping[Path, Path], reader: ThreadPoolExecutor) -> Iterator[Photo]:
    """Yields the photos in order, while the reader is at work on the next one."""
    sources = list(targets)
    photo = reader.submit(read_photo, sources[0])
    for source, following in zip(sources, [*sources[1:], None], strict=True):
        current, photo = photo, reader.submit(read_photo, following) if following else photo
        _make_folder(targets[source].parent)
        yield targets[source], current.result()


def _batches(photos: Iterator[Photo], colorizer: Colorizer) -> Iterator[list[Photo]]:
    """Yields the photos in order: BATCH small ones of one shape at once, all others alone.

    Fewer than BATCH are not filled up but go one by one: there are two programs for each shape and no wasted work.
    Photos before one that cannot be read are yielded before its error is raised.
    """
    waiting: list[Photo] = []
    try:
        for target, photo in photos:
            if waiting and colorizer.network_size(photo) != colorizer.network_size(waiting[0][1]):
                yield from _one_by_one(waiting)
            waiting.append((target, photo))
            if len(waiting) == BATCH:
                yield [waiting.pop(0) for _ in range(BATCH)]
            elif not _is_small(photo, colorizer):
                yield from _one_by_one(waiting)
    except UserError:
        yield from _one_by_one(waiting)
        raise
    yield from _one_by_one(waiting)


def _is_small(photo: UInt8[np.ndarray, "height width 3"], colorizer: Colorizer) -> bool:
    height, width = colorizer.network_size(photo)
    return photo.shape[0] * photo.shape[1] <= SMALL_PIXELS and height * width <= SMALL_NETWORK_PIXELS


def _one_by_one(waiting: list[Photo]) -> Iterator[list[Photo]]:
    """Yields each photo as a batch and takes it off the list, so that nothing here keeps it alive."""
    while waiting:
        yield [waiting.pop(0)]


def _wait(written: Sequence[Future[None]]) -> None:
    for future in written:
        future.result()


def _plan(paths: Sequence[Path], out_dir: Path) -> dict[Path, Path]:
    """Returns the output of every input file, after all checks that need no colouring."""
    targets: dict[Path, Path] = {}
    origin: dict[Path, Path] = {}
    for source, name in _expand(paths, out_dir):
        target = out_dir / name
        if target in origin:
            raise UserError(f"{origin[target]} and {source} would both be written to {target}; use two output folders.")
        origin[target] = source
        targets[source] = target
    inputs = {os.path.realpath(source): source for source in targets}
    for source, target in targets.items():
        if os.path.realpath(target) in inputs:
            raise UserError(
                f"The output {target} would replace the input {inputs[os.path.realpath(target)]}; "
                "choose another output folder."
            )
        _check_image(source)
    return targets


def _expand(paths: Sequence[Path], out_dir: Path) -> list[tuple[Path, Path]]:
    """Returns every input file with its path inside the output folder."""
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        outside = [image for image in list_images(path) if not _is_below(image, out_dir)]
        if not outside:
            raise UserError(f"The folder {path} holds no images to colour.")
        found += [(image, image.relative_to(path)) for image in outside]
    if not found:
        raise UserError("There is nothing to colour; name at least one image or folder.")
    return found


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _check_image(path: Path) -> None:
    open_image(path).close()
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        raise UserError(
            f"{path} cannot be coloured under its own name: its format is not one that can be written "
            f"({', '.join(WRITABLE_SUFFIXES)}); convert it first."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The output folder {folder} cannot be made: {error.strerror or error}.") from error
