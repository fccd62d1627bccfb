"""Colours the photos of every set with every available model; only what is not finished yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from semcolor_jax.errors import UserError
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.finished import Finished, fingerprint
from semcolor_jax.inference.photo_files import colorize_each
from semcolor_jax.inference.plan import Job, make_plan
from semcolor_jax.inference.restore import load_colorizer

from .layout import PhotoSet

logger = logging.getLogger("semcolor_jax.paper_report")


def find_models(folder: Path) -> dict[str, Path]:
    """Returns the models of a folder by the names of their methods: work directories, releases, `.npz` files.

    Raises:
      UserError: there are none.
    """
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    models = {path.stem: path for path in children if path.suffix == ".npz" or (path / "config.json").is_file()}
    if not models:
        raise UserError(f"{folder} holds no models: it needs a work directory or released model for each METHOD.")
    return models


def color_sets(sets: Mapping[str, PhotoSet], models: Mapping[str, Path]) -> None:
    """Writes SET/METHOD for every set that has photos; a method with an unusable model is reported and left out."""
    for method, model in models.items():
        try:
            _color(sets, method, model)
        except UserError as error:
            logger.warning("%s colours nothing: %s", method, error)


def _color(sets: Mapping[str, PhotoSet], method: str, model: Path) -> None:
    colorizer: Colorizer | None = None
    settings = {"model": fingerprint(model)}
    for photos in sets.values():
        if photos.original is None:
            continue
        folder = photos.home / method
        finished = Finished(folder, settings)
        todo = [job for job in make_plan([photos.original], folder).jobs if not _is_finished(finished, job)]
        if not todo:
            continue
        colorizer = colorizer or load_colorizer(model)
        logger.info("%s: %d photos of %s", method, len(todo), photos.title)
        for outcome in colorize_each(colorizer, todo, finished=finished):
            if outcome.status == "failed":
                logger.warning("%s, %s: %s", method, photos.title, outcome.reason)


def _is_finished(finished: Finished, job: Job) -> bool:
    return isinstance(job.source, Path) and finished.state(job.source, job.target) == "finished"
