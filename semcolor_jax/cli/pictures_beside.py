"""What `semcolor colorize` draws beside a result when asked to."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semcolor_jax.errors import UserError

if TYPE_CHECKING:
    from semcolor_jax.inference.colorize import Colorizer
    from semcolor_jax.inference.photo_files import Beside
    from semcolor_jax.inference.plan import Job
    from semcolor_jax.inference.strips import Pixels


def explanations(colorizer: Colorizer, jobs: Sequence[Job]) -> Beside:
    """Returns what writes `NAME_explain.png` beside each result of the jobs (`evaluation.explanation`).

    Raises:
      UserError: an explanation would replace a result.
    """
    from semcolor_jax.evaluation.explanation import explain
    from semcolor_jax.photos.files import write_image

    places = places_beside([job.target for job in jobs], "explain")

    def write(job: Job, photo: Pixels) -> None:
        write_image(places[job.target], explain(colorizer.colorize(photo)))

    return write


def places_beside(targets: Sequence[Path], ending: str) -> dict[Path, Path]:
    """Returns `NAME_ending.png` for each target; targets that share the NAME have their suffix in it, too.

    Raises:
      UserError: one of these is itself a target.
    """
    named = collections.Counter(target.with_suffix("") for target in targets)
    places = {}
    for target in targets:
        alone = named[target.with_suffix("")] == 1
        name = target.stem if alone else f"{target.stem}_{target.suffix[1:]}"
        places[target] = target.with_name(f"{name}_{ending}.png")
    taken = set(places.values()) & set(targets)
    if taken:
        raise UserError(f"--{ending} would write over the result {min(taken)}: give the results a --suffix.")
    return places
