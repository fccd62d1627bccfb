"""Draws the optional pictures that `semcolor colorize` writes beside a result."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semcolor_jax.errors import UserError

if TYPE_CHECKING:
    from semcolor_jax.inference.colorize import Colorizer
    from semcolor_jax.inference.photo_files import Beside, Options
    from semcolor_jax.inference.plan import Job
    from semcolor_jax.photos.photo import Photo


def pictures_beside(
    colorizer: Colorizer, jobs: Sequence[Job], options: Options, *, explain: bool, variants: int | None
) -> Beside | None:
    """Returns the function that writes pictures beside each job's result; None if there are none to write.

    `NAME_explain.png` explains the colours (`evaluation.explanation`). Each variant is a photo in the job's format,
    `NAME_variant1` and so on, and `NAME_variants.png` shows them all.

    Raises:
      UserError: one of them would replace a result, or the number of variants is out of range.
    """
    if not explain and variants is None:
        return None
    from semcolor_jax.evaluation.explanation import contact_sheet
    from semcolor_jax.evaluation.explanation import explain as draw
    from semcolor_jax.inference.variants import check_count
    from semcolor_jax.photos.encoding import write_photos
    from semcolor_jax.photos.files import write_image

    check_count(1 if variants is None else variants)
    targets = [job.target for job in jobs]
    explanations = places_beside(targets, "explain") if explain else {}
    sheets = {} if variants is None else places_beside(targets, "variants")
    numbers = range(1, (variants or 0) + 1)
    photos = {target: [target.with_stem(f"{target.stem}_variant{i}") for i in numbers] for target in targets}
    _check_free([path for paths in photos.values() for path in paths], targets, "variants")

    def write(job: Job, photo: Photo) -> None:
        result = colorizer.colorize(photo.pixels, hints=job.hints)
        if explain:
            write_image(explanations[job.target], draw(result))
        if variants is not None:
            others = result.variants(variants)
            for path, other in zip(photos[job.target], others, strict=True):
                coloured = dataclasses.replace(photo, pixels=other.photo.pixels)
                write_photos(path, [coloured], format=job.format, quality=options.quality)
            write_image(sheets[job.target], contact_sheet(others))

    return write


def places_beside(targets: Sequence[Path], ending: str) -> dict[Path, Path]:
    """Returns `NAME_ending.png` for each target; for targets that share the NAME, with their suffix in it, too.

    Raises:
      UserError: one of these is also a target.
    """
    named = collections.Counter(target.with_suffix("") for target in targets)
    places = {}
    for target in targets:
        alone = named[target.with_suffix("")] == 1
        name = target.stem if alone else f"{target.stem}_{target.suffix[1:]}"
        places[target] = target.with_name(f"{name}_{ending}.png")
    _check_free(places.values(), targets, ending)
    return places


def _check_free(paths: Iterable[Path], targets: Sequence[Path], option: str) -> None:
    taken = set(paths) & set(targets)
    if taken:
        raise UserError(f"--{option} would write over the result {min(taken)}: give the results a --suffix.")
