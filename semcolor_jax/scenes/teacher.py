"""Loads the teacher networks that classify the scene of a photo."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Int32

from semcolor_jax.errors import UserError
from semcolor_jax.metrics.classification import CONVERTERS, Classifier
from semcolor_jax.scenes import SMALL_TEACHER
from semcolor_jax.scenes.batching import BatchFunction
from semcolor_jax.scenes.head import SceneHead, imagenet_features, load_head
from semcolor_jax.taxonomy.label_sets import NUM_SCENES

logger = logging.getLogger(__name__)

WHERE_TEACHERS_ARE = (
    "VGG16-Places365 is published as vgg16-places365_weights_tf_dim_ordering_tf_kernels.h5 (543 MB, Keras) at "
    "https://github.com/GKalliatakis/Keras-VGG16-places365/releases/tag/v1.0 and as vgg16_places365.caffemodel "
    "(543 MB, Caffe) at http://places2.csail.mit.edu/models_places365/vgg16_places365.caffemodel; without either, "
    "`--teacher small` is the stand-in that comes with this package, and "
    "`semcolor data train-teacher PHOTOS -o teacher.npz` trains one on photos of your own"
)

_SMALL = Path(__file__).with_name("small_teacher.npz")


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Photos in, probabilities of Places365 categories out.

    Attributes:
      name: its file and the beginning of the file's SHA-256, so that labels of different teachers do not mix.
      side: pixels a side of its input squares.
      categories: (k,) Places365 ids.
      probabilities: from uint8 sRGB photos (B, side, side, 3) to (B, k).
      path: for `load_teacher` in another process; None if it was created in this one.
    """

    name: str
    side: int
    categories: Int32[np.ndarray, " k"]
    probabilities: BatchFunction
    path: Path | None = None


def load_teacher(path: str | os.PathLike[str]) -> Teacher:
    """Reads a teacher: a `.npz` of `data train-teacher`, or VGG16-Places365 as a Keras `.h5` or a `.caffemodel`.

    Args:
      path: the file, or "small" for the teacher in this package. The latter logs what it stands in for.

    Raises:
      UserError: the file is missing (the message says where teachers are published), damaged, or another network.
    """
    path = Path(path)
    if path == Path(SMALL_TEACHER):
        head = load_head(_SMALL)
        logger.info("%s", _what_small_knows(head))
        return _from_head(_SMALL, head, path=path)
    if not path.is_file():
        raise UserError(f"there is no teacher file {path}: {WHERE_TEACHERS_ARE}.")
    if path.suffix == ".npz":
        return _from_head(path, load_head(path), path=path.absolute())
    if path.suffix in CONVERTERS:
        return _from_classifier(path)
    kinds = ", ".join([".npz", *CONVERTERS])
    raise UserError(f"the teacher file {path} is of an unknown kind; known are {kinds}.")


def _what_small_knows(head: SceneHead) -> str:
    measured = head.record["held_out"]
    photos = sum(folder["images"] for folder in measured)
    top1 = sum(folder["images"] * folder["top1"] for folder in measured) / photos
    return (
        f"the small teacher is a stand-in for VGG16-Places365: it knows {len(head.categories)} of {NUM_SCENES} scenes "
        f"({', '.join(head.record['scenes'])}) and names {top1:.0%} of {photos} held-out photos of these rightly; "
        "a photo of anything else gets one of them all the same"
    )


def _from_head(file: Path, head: SceneHead, *, path: Path) -> Teacher:
    features = imagenet_features()
    return Teacher(
        name=_fingerprint(file),
        side=head.side,
        categories=head.categories,
        probabilities=lambda photos: head.probabilities(features(photos)),
        path=path,
    )


def _from_classifier(path: Path) -> Teacher:
    classifier = Classifier(path, classes=NUM_SCENES)
    return Teacher(
        name=_fingerprint(path),
        side=classifier.side,
        categories=np.arange(NUM_SCENES, dtype=np.int32),
        probabilities=lambda photos: jax.nn.softmax(classifier.logits(photos)),
        path=path.absolute(),
    )


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.name} sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
