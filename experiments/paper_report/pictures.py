"""Draws Figs. 13 to 23 of the paper: grids of photos, chosen by rules and not by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.drawing import Cell, EmptyCell, PhotoCell, class_map, draw_rows
from semcolor_jax.evaluation.score.pairing import ORIGINALS, pair_folders
from semcolor_jax.evaluation.score.streaming import center_square
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.metrics.similarity import psnr
from semcolor_jax.photos.files import read_photo

from .layout import PhotoSet, method_title
from .scoring import SetScore

SIDE = 224
"""Longest side of a picture in a grid, in pixels."""

Photo = UInt8[np.ndarray, "h w 3"]


class Gain(NamedTuple):
    """A photo and by how many dB its colours beat its grey copy."""

    stem: str
    decibels: float


def gains(photos: PhotoSet, scored: SetScore, *, method: str, size: int | None) -> list[Gain]:
    """Returns the gain of every scored photo of a method in pooled PSNR over the grey copy, the largest first.

    Both are measured on the area that `score` measures. Ties are ordered by name.

    Raises:
      UserError: the method has no scores.
    """
    if scored.score is None or photos.original is None or method not in scored.names:
        raise UserError(scored.reason(method) or f"{photos.title}: {method_title(method)} has no scores.")
    files = pair_folders(photos.original, [photos.methods[method]]).files[ORIGINALS]
    found = []
    for stem, values in scored.score.images[scored.names[method]].items():
        photo = read_photo(files[stem])
        square = photo if size is None else center_square(photo, size=size)
        found.append(Gain(stem, float(values["psnr"] - psnr(square[None], _grey(square)[None]).pooled[0])))
    return sorted(found, key=lambda gain: (-gain.decibels, gain.stem))


def success_and_failure(ranked: Sequence[Gain], *, count: int) -> tuple[list[Gain], list[Gain]]:
    """Returns the photos with largest and with smallest gain, each at most `count` and half of all, none in both."""
    shown = min(count, -(-len(ranked) // 2))
    worst = sorted(ranked[shown:], key=lambda gain: (gain.decibels, gain.stem))[:shown]
    return list(ranked[:shown]), worst


def draw_chosen(photos: PhotoSet, scored: SetScore, chosen: Sequence[Gain]) -> Photo:
    """Draws a row for each chosen photo: grey copy, each method with its PSNR, original with the gain."""
    assert photos.original is not None  # `gains` has checked
    assert scored.score is not None
    files = pair_folders(photos.original, [photos.methods[method] for method in scored.names]).files
    rows = []
    for stem, gain in chosen:
        original = read_photo(files[ORIGINALS][stem])
        row: dict[str, Cell] = {"grey copy": PhotoCell(_grey(fit(original)), stem)}
        for method, name in scored.names.items():
            values = scored.score.images[name].get(stem)
            if values is None:
                row[method_title(method)] = EmptyCell("no score")
            else:
                row[method_title(method)] = PhotoCell(fit(read_photo(files[name][stem])), f"{values['psnr']:.1f} dB")
        row["original"] = PhotoCell(fit(original), f"gain {gain:+.1f} dB")
        rows.append(row)
    return draw_rows(list(rows[0]), rows)


def draw_first(photos: PhotoSet, *, count: int, colored: bool) -> Photo:
    """Draws the first photos by name beside each method's results.

    Args:
      photos: a set with photos.
      count: how many at most.
      colored: the photos are in colour; a grey copy then precedes the methods.

    Raises:
      UserError: there are no photos, or none of any method, or one of the originals cannot be read.
    """
    if photos.original is None:
        raise UserError(f"there is no folder {photos.home / 'original'}.")
    if not photos.methods:
        raise UserError(f"there is no folder of a method in {photos.home}.")
    files = pair_folders(photos.original, list(photos.methods.values())).files
    names = [name for name in files if name != ORIGINALS]
    rows = []
    for stem, path in list(files[ORIGINALS].items())[:count]:
        photo = fit(read_photo(path))
        row: dict[str, Cell] = {"grey copy": PhotoCell(_grey(photo), stem)} if colored else {}
        row["photo"] = PhotoCell(photo, "" if colored else stem)
        for method, name in zip(photos.methods, names, strict=True):
            found = files[name].get(stem)
            row[method_title(method)] = _cell(found)
        rows.append(row)
    return draw_rows(list(rows[0]), rows)


def draw_segmentation(files: Mapping[str, Path], colorizer: Colorizer) -> Photo:
    """Draws for each photo, by its name, the grey copy, the network's colours and its segmentation.

    Raises:
      UserError: the network has no segmentation branch.
    """
    rows = []
    for stem, path in files.items():
        photo = read_photo(path)
        result = colorizer(photo)
        if result.segmentation is None:
            raise UserError("the network has no segmentation branch.")
        grey = _grey(fit(photo))
        row: dict[str, Cell] = {
            "grey copy": PhotoCell(grey, stem),
            "colours": PhotoCell(fit(result.rgb), ""),
            "segmentation": class_map(grey, _resized(result.segmentation, height=grey.shape[0], width=grey.shape[1])),
        }
        rows.append(row)
    return draw_rows(list(rows[0]), rows)


def _resized(classes: UInt8[np.ndarray, "h w"], *, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """Returns the class nearest to each pixel: the network's size differs from the picture's."""
    return np.asarray(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))


def _cell(file: Path | None) -> Cell:
    if file is None:
        return EmptyCell("no photo")
    try:
        return PhotoCell(fit(read_photo(file)), "")
    except UserError:
        return EmptyCell("unreadable")


def _grey(photo: Photo) -> Photo:
    return grey_copy(rgb_to_lab(photo, xp=np)[..., :1])


def fit(photo: Photo) -> Photo:
    """Returns the photo with its longer side of at most `SIDE` pixels."""
    image = Image.fromarray(photo)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image)
