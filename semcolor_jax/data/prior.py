"""The colour prior: how often each of the 313 bins occurs in photos, with the provenance of that."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from semcolor_jax.color import BIN_TABLE_ID, NUM_BINS, nearest_bin, rgb_to_lab
from semcolor_jax.data.example import Source
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, write_json

_CHUNK = 1 << 20  # colours that are sorted into bins at a time


@dataclasses.dataclass(frozen=True)
class Prior:
    """How often each bin is the nearest one to a pixel.

    Attributes:
      probabilities: (313,), sum 1. provenance: `bin_table` (its id), `source` (name of the data set),
      `images`, `pixels` (how many), `seed`.
    """

    probabilities: Float64[np.ndarray, " 313"]
    provenance: dict[str, Any]


def measure_prior(source: Source, *, max_images: int, seed: int) -> Prior:
    """Measures the prior over all pixels of at most `max_images` photos, drawn by `seed` without repetition.

    Raises:
      UserError: if the source has no photos, or one cannot be read.
    """
    if not len(source):
        raise UserError(f"the data set {source.name} has no photos to measure colours on.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(source))[:max_images])
    counts = np.zeros(1 << 24, np.int64)  # by 24-bit colour, because photos repeat colours a thousandfold
    for index in chosen:
        red, green, blue = np.moveaxis(source.read(int(index)).image.astype(np.int64), -1, 0)
        np.add.at(counts, (red << 16 | green << 8 | blue).ravel(), 1)
    histogram = _sort_into_bins(counts)
    return Prior(
        probabilities=histogram / histogram.sum(),
        provenance={
            "bin_table": BIN_TABLE_ID,
            "source": source.name,
            "images": len(chosen),
            "pixels": int(histogram.sum()),
            "seed": seed,
        },
    )


def save_prior(path: str | os.PathLike[str], prior: Prior) -> None:
    """Writes a prior as JSON, atomically. Raises `UserError` if the folder cannot be written."""
    write_json(path, {"provenance": prior.provenance, "probabilities": prior.probabilities.tolist()})


def load_prior(path: str | os.PathLike[str]) -> Prior:
    """Reads what `save_prior` wrote.

    Raises:
      UserError: if the file is missing or no prior, belongs to another table of bins, or holds no
      probabilities.
    """
    content = read_json(path)
    try:
        provenance = dict(content["provenance"])
        probabilities = np.array(content["probabilities"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a file of a colour prior: measure it again.") from error
    if provenance.get("bin_table") != BIN_TABLE_ID:
        raise UserError(f"{path} belongs to another table of colour bins than this one: measure it again.")
    if probabilities.shape != (NUM_BINS,):
        shape = " x ".join(map(str, probabilities.shape))
        raise UserError(f"{path} holds {shape} numbers, not one for each of {NUM_BINS} bins: measure it again.")
    if not (np.all(probabilities >= 0) and abs(probabilities.sum() - 1) < 1e-6):  # NaN fails both
        raise UserError(f"{path} holds numbers that are no probabilities of sum 1: measure it again.")
    return Prior(probabilities=probabilities, provenance=provenance)


def _sort_into_bins(counts: Int64[np.ndarray, " 16777216"]) -> Int64[np.ndarray, " 313"]:
    """Returns the pixels per bin, from the pixels per 24-bit colour."""
    present = np.flatnonzero(counts)
    histogram = np.zeros(NUM_BINS, np.int64)
    for start in range(0, len(present), _CHUNK):
        colors = present[start : start + _CHUNK]
        rgb = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1).astype(np.uint8)
        bins = np.asarray(nearest_bin(rgb_to_lab(rgb, xp=np)[..., 1:]))
        np.add.at(histogram, bins, counts[colors])
    return histogram
