"""Measures the colour prior: how often each of the 313 colour bins occurs in the training photos."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int64, UInt8, UInt16, UInt32
from tqdm import tqdm

from semcolor_jax.color import BIN_TABLE_ID, NUM_BINS, nearest_bin, rgb_to_lab
from semcolor_jax.data.example import Source
from semcolor_jax.data.order import first_indices
from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, write_json

_REPORT_FROM = 2000  # photos; fewer take seconds
_COLORS = 1 << 24
_CHUNK = 1 << 20  # colours whose bins are searched at a time


@dataclasses.dataclass(frozen=True)
class Prior:
    """How often each bin is the nearest to a pixel.

    Attributes:
      probabilities: (313,), sum 1.
      provenance: `bin_table` (its id), `source` (name of the data set), `images` (how many different ones),
        `pixels` (how many, those of repeated images repeatedly), `seed`.
    """

    probabilities: Float64[np.ndarray, " 313"]
    provenance: dict[str, Any]


def measure_prior(source: Source, *, max_images: int | None = None, seed: int) -> Prior:
    """Measures the prior over all pixels of the first `max_images` photos of the training stream of `seed`.

    At most one epoch is measured, and without `max_images` exactly one: every photo once, or as often as a mix's
    weights say. Photos are read on all cores.

    Raises:
      UserError: if the source has no photos, or one cannot be read.
    """
    if not len(source):
        raise UserError(f"the data set {source.name} has no photos to measure colours on.")
    count = min(max_images or len(source), len(source))
    chosen, times = np.unique(first_indices(source, count, seed=seed), return_counts=True)
    bins = _bin_of_color()

    def histogram_of(index: np.int64) -> Int64[np.ndarray, " 313"]:
        return np.bincount(bins.take(_colors(source.read(int(index)).image)), minlength=NUM_BINS)

    histogram = np.zeros(NUM_BINS, np.int64)
    progress = tqdm(total=len(chosen), desc="measuring colours", unit="photo", disable=len(chosen) < _REPORT_FROM)
    with progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for repeats, counts in zip(times, pool.map(histogram_of, chosen), strict=True):  # an error cancels the others
            histogram += repeats * counts
            progress.update()
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
      UserError: if the file is missing or not a prior, belongs to another table of bins, or has no valid probabilities.
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


def _colors(image: UInt8[np.ndarray, "h w 3"]) -> UInt32[np.ndarray, " h*w"]:
    """Returns each pixel as one 24-bit number, red first."""
    red, green, blue = np.moveaxis(image, -1, 0).astype(np.uint32)
    return (red << 16 | green << 8 | blue).ravel()


def _bin_of_color() -> UInt16[np.ndarray, " 16777216"]:
    """Returns the bin of every 24-bit colour: a second of work that makes each pixel one look-up."""

    @jax.jit
    def bins_from(start: int) -> UInt16[Array, " chunk"]:
        color = start + jnp.arange(_CHUNK)
        rgb = jnp.stack([color >> 16, color >> 8 & 255, color & 255], axis=-1).astype(jnp.uint8)
        return nearest_bin(rgb_to_lab(rgb)[..., 1:]).astype(jnp.uint16)

    return np.concatenate([np.asarray(bins_from(start)) for start in range(0, _COLORS, _CHUNK)])
