"""Scores the four test sets, by `semcolor_jax.evaluation.score`; computes only what is not known yet."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.score import tables
from semcolor_jax.evaluation.score.options import PUBLISHED, Chosen, choose
from semcolor_jax.evaluation.score.pairing import ORIGINALS
from semcolor_jax.evaluation.score.run import Score, score

from .layout import METHODS, ORIGINAL, TEST_SETS, PhotoSet

logger = logging.getLogger("semcolor_jax.paper_report")

METRICS = ("psnr", "ssim", "l2ab", "lpips")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to score.

    Attributes:
      size: side of the central square; None for whole photos.
      fid_features: "torchvision", "tf" or "vgg16".
      fid_weights: file of the Inception, if any.
      classifiers: for "imagenet" and "places365" the file of VGG16's weights and that of the labels, if any.
    """

    size: int | None = 256
    fid_features: str = "torchvision"
    fid_weights: Path | None = None
    classifiers: Mapping[str, tuple[Path | None, Path | None]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SetScore:
    """The scores of one test set.

    Attributes:
      score: None if nothing can be scored.
      names: each method's name in `score`.
      reasons: why a method has no numbers; under "" why the whole set has none.
    """

    score: Score | None
    names: Mapping[str, str]
    reasons: Mapping[str, str]

    def reason(self, method: str) -> str | None:
        """Returns why a method has no numbers, or None if it has some."""
        return self.reasons.get("") or self.reasons.get(method)


def score_sets(sets: Mapping[str, PhotoSet], *, output: Path, settings: Settings) -> dict[str, SetScore]:
    """Scores all methods of the four test sets; the tables of `score` are written to OUTPUT/SET.

    Raises:
      UserError: a mistake in the settings, or an output that cannot be written.
    """
    return {name: _score_set(sets[name], output=output / name, settings=settings) for name in TEST_SETS}


def _score_set(photos: PhotoSet, *, output: Path, settings: Settings) -> SetScore:
    if photos.original is None:
        return SetScore(None, {}, {"": f"{photos.title}: there is no folder {photos.home / ORIGINAL}."})
    reasons = {
        method: f"{photos.title}: there is no folder {photos.home / method}."
        for method in METHODS
        if method not in photos.methods
    }
    if not photos.methods:
        return SetScore(None, {}, reasons)
    chosen = _choose(photos.name, photos.original, settings)
    output.mkdir(parents=True, exist_ok=True)
    scored = _score_what_can_be(photos.original, photos.methods, output=output, chosen=chosen, size=settings.size)
    reasons |= {method: f"{photos.title}: {reason}" for method, reason in scored.reasons.items()}
    if scored.score is not None:
        tables.write_all(output, scored.score)
    return dataclasses.replace(scored, reasons=reasons)


def _score_what_can_be(
    original: Path, methods: Mapping[str, Path], *, output: Path, chosen: Chosen, size: int | None
) -> SetScore:
    """Scores all methods at once; if this fails, those that can be scored, with reasons for the others."""

    def attempt(folders: Sequence[Path], *, with_fid: bool = True) -> Score:
        return score(
            original,
            folders,
            output=output,
            size=size,
            measures=chosen.measures,
            fid_request=chosen.fid if with_fid else None,
            unavailable=chosen.unavailable,
        )

    try:
        return SetScore(result := attempt(list(methods.values())), _names(methods, result), {})
    except UserError as error:
        if len(methods) == 1:
            return SetScore(None, {}, dict.fromkeys(methods, str(error)))
    reasons = {}
    for method, folder in methods.items():
        try:
            attempt([folder], with_fid=False)
        except UserError as error:
            reasons[method] = str(error)
            logger.warning("%s is left out: %s", folder, error)
    usable = {method: folder for method, folder in methods.items() if method not in reasons}
    if not usable:
        return SetScore(None, {}, reasons)
    return SetScore(result := attempt(list(usable.values())), _names(usable, result), reasons)


def _names(methods: Mapping[str, Path], result: Score) -> dict[str, str]:
    return dict(zip(methods, (name for name in result.rows if name != ORIGINALS), strict=True))


def _choose(name: str, original: Path, settings: Settings) -> Chosen:
    """Returns what to measure on a set; accuracies belong to the set that has their classes."""
    kinds = {kind: settings.classifiers.get(kind, (None, None)) for kind in ("imagenet", "places365")}
    files = {
        kind: (weights or Path(PUBLISHED[kind][0])) if name.startswith(kind) else None
        for kind, (weights, _) in kinds.items()
    }
    labels = {kind: given if files[kind] else None for kind, (_, given) in kinds.items()}
    return choose(
        metrics=METRICS,
        fid_features=settings.fid_features,
        fid_weights=settings.fid_weights,
        fid_reference=None,
        imagenet_weights=files["imagenet"],
        places365_weights=files["places365"],
        imagenet_labels=labels["imagenet"],
        places365_labels=labels["places365"],
        originals=original,
    )
