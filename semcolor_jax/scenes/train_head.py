"""Trains and evaluates the small scene teacher on folders of photos named after their scene."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from tqdm import tqdm

from semcolor_jax import __version__
from semcolor_jax.data.folder import FolderSource, Split
from semcolor_jax.errors import UserError
from semcolor_jax.metrics.scenes import SceneResult, SceneScores, rank_of, score, true_scene
from semcolor_jax.scenes import HEAD_L2, HEAD_SIDE
from semcolor_jax.scenes.batching import fit_square, map_batches
from semcolor_jax.scenes.head import SceneHead, fit_head, imagenet_features
from semcolor_jax.taxonomy.label_sets import NUM_SCENES, PLACES365

_CONFUSIONS = 5
_READ_AHEAD = 64


class ScenePhotos(NamedTuple):
    """The photos with a scene in one split of one folder: features, and Places365 ids."""

    features: Float32[np.ndarray, "N features"]
    truth: Int64[np.ndarray, " N"]


class Confusion(NamedTuple):
    """How many held-out photos of one category the teacher mistook for another (Places365 names)."""

    truth: str
    predicted: str
    photos: int


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """A teacher's accuracy on the validation photos of one folder, and its most frequent mistakes."""

    folder: str
    trained_on: int
    scores: SceneScores
    confusions: Sequence[Confusion]


@dataclasses.dataclass(frozen=True)
class TrainedHead:
    """A teacher and its accuracy on each folder; the latter is in `head.record` too."""

    head: SceneHead
    held_out: Sequence[HeldOut]


def train_head(folders: Sequence[str | os.PathLike[str]], *, side: int = HEAD_SIDE, l2: float = HEAD_L2) -> TrainedHead:
    """Trains one teacher on the train splits of all folders and measures it on each folder's val split.

    Args:
      folders: as `data.folder`; photos without a scene are left out.
      side: in pixels, to which photos are resized.
      l2: regularisation, as `scenes.head.fit_head`.

    Raises:
      UserError: a folder cannot be read or has no photos with a scene, or there are fewer than two scenes in all.
    """
    sources = [{split: FolderSource(folder, split) for split in ("train", "val")} for folder in folders]
    train, val = (
        [scene_photos(source[split], side=side, split=split) for source in sources] for split in ("train", "val")
    )
    truth = np.concatenate([photos.truth for photos in train])
    if len(np.unique(truth)) < 2:
        raise UserError(f"all photos show the scene {PLACES365[truth[0]]!r}: a teacher needs at least two scenes.")
    head = fit_head(np.concatenate([photos.features for photos in train]), truth, side=side, l2=l2)
    held_out = [
        measure(head, measured, folder=source["train"].name, trained_on=len(trained.truth))
        for source, trained, measured in zip(sources, train, val, strict=True)
    ]
    counts = collections.Counter(PLACES365[category] for category in truth)
    record = {
        **head.record,
        "semcolor_jax": __version__,
        "scenes": dict(sorted(counts.items())),
        "held_out": [_as_json(result) for result in held_out],
    }
    return TrainedHead(dataclasses.replace(head, record=record), held_out)


def scene_photos(source: FolderSource, *, side: int, split: Split) -> ScenePhotos:
    """Returns the features of a source's photos that have a scene. Raises `UserError` if none has."""
    truth: list[int] = []

    def squares() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(source), _READ_AHEAD):
                indices = range(start, min(start + _READ_AHEAD, len(source)))
                for sample in pool.map(source.read, indices):
                    progress.update()
                    category = true_scene(sample.scene_index, sample.scene_prob)
                    if category is not None:
                        truth.append(category)
                        yield fit_square(sample.image, side=side)

    with tqdm(total=len(source), desc=f"{source.name} {split}", unit="photo") as progress:
        features = list(map_batches(imagenet_features(), squares()))
    if not features:
        raise UserError(
            f"no {split} photo in the folder {source.name} has a scene: name the folders of the photos after "
            "Places365 categories, or map their names in a taxonomy.yaml there."
        )
    return ScenePhotos(np.stack(features), np.array(truth, np.int64))


def measure(head: SceneHead, photos: ScenePhotos, *, folder: str, trained_on: int) -> HeldOut:
    """Returns a teacher's accuracy on photos; a category that it never saw counts as missed."""
    probabilities = np.full((len(photos.truth), NUM_SCENES), -1.0)
    probabilities[:, head.categories] = head.probabilities(photos.features)
    results = [
        SceneResult(truth=int(truth), rank=rank_of(int(truth), row))
        for truth, row in zip(photos.truth, probabilities, strict=True)
    ]
    wrong = collections.Counter(
        (PLACES365[truth], PLACES365[guess])
        for truth, guess in zip(photos.truth, probabilities.argmax(axis=1), strict=True)
        if truth != guess
    )
    mistakes = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:_CONFUSIONS]
    return HeldOut(
        folder=folder,
        trained_on=trained_on,
        scores=score(results, unlabelled=0),
        confusions=[Confusion(*pair, photos=count) for pair, count in mistakes],
    )


def format_held_out(held_out: Sequence[HeldOut]) -> str:
    """Returns the table for the terminal."""
    lines = []
    for result in held_out:
        scores = result.scores
        lines.append(
            f"{result.folder}: trained on {result.trained_on} photos; held out {scores.images}: "
            f"top-1 {scores.top1:.1%}, top-5 {scores.top5:.1%} "
            f"(always the most frequent: {scores.majority_top1:.1%}, {scores.majority_top5:.1%})"
        )
        lines += [f"  {mistake.truth} taken for {mistake.predicted}: {mistake.photos}" for mistake in result.confusions]
    return "\n".join(lines)


def _as_json(result: HeldOut) -> dict[str, Any]:
    return {
        "folder": result.folder,
        "trained_on": result.trained_on,
        **{name: getattr(result.scores, name) for name in ("images", "top1", "top5", "majority_top1")},
        "confusions": [list(mistake) for mistake in result.confusions],
    }
