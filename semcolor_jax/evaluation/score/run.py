"""Runs `semcolor score`: pairs photos, computes or reuses their values, and averages them."""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.score import statistics
from semcolor_jax.evaluation.score.measures import COLUMNS, Batch, Measure
from semcolor_jax.evaluation.score.pairing import EXCLUDED, ORIGINALS, Pairing, Problem, pair_folders
from semcolor_jax.evaluation.score.results import ResultCache, Values, file_identity, key_of
from semcolor_jax.evaluation.score.streaming import Loaded, MethodBatch, Task, batches, map_ahead, read_pairs
from semcolor_jax.metrics import error_histogram, fid
from semcolor_jax.photos.files import list_images

logger = logging.getLogger(__name__)

CACHE = "results.jsonl"
_LOG_EVERY = 500

_BATCHES_AT_ONCE = 2
"""While one batch is in a measure that only partly uses all cores, the next is in another."""

MethodValues = dict[str, dict[str, Values]]
"""Values by method and stem."""


@dataclasses.dataclass(frozen=True)
class FidRequest:
    """Which FID to compute.

    Attributes:
      measure: a measure without columns whose values have "features", by `fid.encode_features`.
      title: the column's, which says what kind it is.
      protocol: for the footer.
      reference: folder of other originals to compare with, or None for the originals of the pairs.
    """

    measure: Measure
    title: str
    protocol: str
    reference: Path | None = None


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of scoring.

    Attributes:
      protocol: sentences that say how it was done.
      originals: number of originals that have no duplicate.
      columns: the measured ones of `measures.COLUMNS`.
      rows: for each method, and the originals where a column applies to them: the mean of each column.
      images: for each method and stem the columns' values.
      curves: for each method the share of pixels within `error_histogram.THRESHOLDS`, where l2ab was measured.
      fid: for each method the distance, and the number of photos on either side.
      fid_title: which kind of FID it is; "" if none.
      problems: everything that was wrong with a pair.
      unavailable: sentences on requested metrics that cannot be computed.
    """

    protocol: tuple[str, ...]
    originals: int
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, statistics.Estimate]]
    images: Mapping[str, Mapping[str, Values]]
    curves: Mapping[str, Sequence[float]]
    fid: Mapping[str, tuple[float, int, int]]
    fid_title: str
    problems: tuple[Problem, ...]
    unavailable: tuple[str, ...]


def score(
    originals: Path,
    colorized: Sequence[Path],
    *,
    output: Path,
    size: int | None,
    measures: Sequence[Measure],
    fid_request: FidRequest | None = None,
    unavailable: Sequence[str] = (),
) -> Score:
    """Scores folders of coloured photos against a folder of originals.

    Args:
      originals: folder of photos.
      colorized: folders of coloured photos, one per method, paired by file name without suffix.
      output: folder; its `CACHE` keeps computed values.
      size: photos are resized to this short side in pixels, and their central square is scored; None: whole.
      measures: what to measure.
      fid_request: which FID to compute, if any.
      unavailable: sentences to pass on.

    Raises:
      UserError: a folder is missing or empty, no pair can be scored, or the output cannot be written.
    """
    pairing = pair_folders(originals, colorized)
    every = [*measures, *([fid_request.measure] if fid_request else [])]
    with ResultCache(output / CACHE) as cache:
        values, problems = _measure(pairing, every, cache, size=size)
        problems = [*pairing.problems, *problems]
        _check_scored(values, problems, methods=pairing.methods)
        distances = _fid(values, fid_request, cache, size=size, methods=pairing.methods, problems=problems)
    columns = tuple(column for column in COLUMNS if any(_known(values, column)))
    return Score(
        protocol=(_area(size), *(measure.protocol for measure in measures), *_fid_protocol(fid_request)),
        originals=len(pairing.files[ORIGINALS]),
        columns=columns,
        rows=_means(values, columns),
        images=_tidy(values, pairing, columns),
        curves=_curves(values),
        fid=distances,
        fid_title=fid_request.title if fid_request else "",
        problems=tuple(problems),
        unavailable=tuple(unavailable),
    )


def _measure(
    pairing: Pairing, measures: Sequence[Measure], cache: ResultCache, *, size: int | None
) -> tuple[MethodValues, list[Problem]]:
    """Returns the values of every usable photo by method and stem, from the cache or computed."""
    work = _Work(pairing, measures, cache, size=size)
    problems: list[Problem] = []

    def usable() -> Iterator[Loaded]:
        for item in read_pairs(work.tasks(), size=size):
            if isinstance(item, Problem):
                problems.append(item)
            else:
                yield item

    loaded = batches(usable(), size=size)
    for computed in map_ahead(work.compute, loaded, threads=_BATCHES_AT_ONCE, ahead=_BATCHES_AT_ONCE):
        work.keep(computed)
    return work.values, [*problems, *work.notes()]


class Computed(NamedTuple):
    """The values computed for a batch, by their keys in the cache, and the method and stem of each photo."""

    photos: list[tuple[str, str]]
    entries: list[tuple[str, Values]]


class _Work:
    """The measurements to make, and those already made."""

    def __init__(self, pairing: Pairing, measures: Sequence[Measure], cache: ResultCache, *, size: int | None):
        self._pairing, self._measures, self._cache, self._size = pairing, measures, cache, size
        self._identities = {
            method: {stem: file_identity(path) for stem, path in files.items()}
            for method, files in pairing.files.items()
        }
        self._locks = {measure.name: threading.Lock() for measure in measures}
        self._done = 0
        self.values: MethodValues = {method: {} for method in pairing.files}

    def tasks(self) -> Iterator[Task]:
        """Takes known values from the cache, and yields the remaining tasks."""
        for stem, original in self._pairing.files[ORIGINALS].items():
            missing = {
                method: files[stem]
                for method, files in self._pairing.files.items()
                if stem in files and not self._recall(method, stem)
            }
            if missing:
                yield Task(stem, original, missing)

    def compute(self, done: MethodBatch) -> Computed:
        """Computes the values of a batch that the cache lacks, one measure after another; thread-safe."""
        entries = []
        for measure in self._measures:
            wanted = [
                (index, method, stem)
                for index, (method, stem) in enumerate(zip(done.methods, done.batch.stems, strict=True))
                if self._applies(measure, method) and self._cache.get(self._key(measure, method, stem)) is None
            ]
            if not wanted:
                continue
            with self._locks[measure.name]:  # or two batches would compile the same program at once
                computed = _compute(measure, done.batch)
            entries += [
                (self._key(measure, method, stem), {**computed[index], "grayscale": done.grayscale[index]})
                for index, method, stem in wanted
            ]
        return Computed(list(zip(done.methods, done.batch.stems, strict=True)), entries)

    def keep(self, computed: Computed) -> None:
        """Writes computed values to the cache."""
        self._cache.add(computed.entries)
        for method, stem in computed.photos:
            self._recall(method, stem)
        before, self._done = self._done, self._done + len(computed.photos)
        if before // _LOG_EVERY != self._done // _LOG_EVERY:
            logger.info("measured %d photos", self._done)

    def notes(self) -> list[Problem]:
        """Returns the notes on scored pairs."""
        notes = []
        for method in self._pairing.methods:
            for stem, values in self.values[method].items():
                if values.get("grayscale"):
                    detail = f"{self._pairing.files[method][stem]} has no colour"
                    notes.append(Problem("grayscale", method, stem, detail))
                for measure in self._measures:
                    if measure.columns and measure.min_side > 1 and values.get(measure.columns[0], 0.0) is None:
                        detail = f"{measure.name} needs {measure.min_side} pixels a side"
                        notes.append(Problem("too small", method, stem, detail))
        return notes

    def _recall(self, method: str, stem: str) -> bool:
        """Takes a photo's values from the cache; False if any are missing."""
        found = [
            self._cache.get(self._key(measure, method, stem))
            for measure in self._measures
            if self._applies(measure, method)
        ]
        if any(values is None for values in found):
            return False
        if found:
            self.values[method][stem] = {name: value for values in found if values for name, value in values.items()}
        return True

    @staticmethod
    def _applies(measure: Measure, method: str) -> bool:
        return method != ORIGINALS or not measure.of_pairs

    def _key(self, measure: Measure, method: str, stem: str) -> str:
        files = [self._identities[name][stem] for name in (ORIGINALS, method)]
        return key_of(measure.identity, self._size, files)


def _compute(measure: Measure, batch: Batch) -> list[Values]:
    """Computes a measure; photos too small for it get None, and are enlarged to keep the batch's shape."""
    small = batch.sizes.min(axis=1) < measure.min_side
    if not small.any():
        return measure.compute(batch)
    nothing: Values = dict.fromkeys(measure.columns)
    if small[: len(batch.stems)].all() or min(batch.truth.shape[1:3]) < measure.min_side:
        return [dict(nothing) for _ in batch.stems]
    sizes = np.where(small[:, None], np.array(batch.truth.shape[1:3]), batch.sizes)  # valid shapes, unused results
    computed = measure.compute(batch._replace(sizes=sizes))
    return [dict(nothing) if out else values for values, out in zip(computed, small, strict=False)]


def _check_scored(values: MethodValues, problems: Sequence[Problem], *, methods: Sequence[str]) -> None:
    for method in methods:
        if not values[method]:
            wrong = [p for p in problems if p.kind in EXCLUDED and p.method in (method, ORIGINALS)]
            counts = collections.Counter(EXCLUDED[problem.kind] for problem in wrong)
            summary = ", ".join(f"{count} {what}" for what, count in counts.items())
            details = [p.detail for p in sorted(wrong, key=lambda p: p.kind == "missing")]  # absence says least
            raise UserError(f"no pair of {method} can be scored: {summary}; the first: {details[0].rstrip('.')}.")


def _known(values: MethodValues, column: str) -> Iterator[bool]:
    base = _base_column(column)
    for photos in values.values():
        for row in photos.values():
            yield base in row


def _base_column(column: str) -> str:
    return column.removesuffix("_of_means").removesuffix("_per_image")


def _means(values: MethodValues, columns: Iterable[str]) -> dict[str, dict[str, statistics.Estimate]]:
    rows: dict[str, dict[str, statistics.Estimate]] = {}
    for method, photos in values.items():
        rows[method] = {}
        for column in columns:
            base = _base_column(column)
            pairs = [(row.get(base), values[ORIGINALS].get(stem, {}).get(base)) for stem, row in photos.items()]
            if not any(value is not None for value, _ in pairs):
                continue
            numbers = np.array(pairs, np.float64)
            if column == base:
                rows[method][column] = statistics.mean(numbers[:, 0])
            elif method != ORIGINALS:
                delta = numbers[:, 0] - numbers[:, 1]
                of_means = column.endswith("_of_means")
                rows[method][column] = statistics.mean(delta if of_means else np.abs(delta), absolute=of_means)
    return {method: row for method, row in rows.items() if row or method != ORIGINALS}


def _tidy(values: MethodValues, pairing: Pairing, columns: Sequence[str]) -> dict[str, dict[str, Values]]:
    return {
        method: {
            stem: {column: values[method][stem].get(column) for column in columns if column == _base_column(column)}
            for stem in pairing.files[method]
            if stem in values[method]
        }
        for method in pairing.files
        if values[method]
    }


def _curves(values: MethodValues) -> dict[str, list[float]]:
    curves = {}
    for method, photos in values.items():
        histogram = error_histogram.ErrorHistogram()
        for row in photos.values():
            if "histogram" in row:
                histogram.add(np.array([row["histogram"]]))
        if histogram.images:
            curves[method] = histogram.curve.tolist()
    return curves


def _fid(
    values: MethodValues,
    request: FidRequest | None,
    cache: ResultCache,
    *,
    size: int | None,
    methods: Sequence[str],
    problems: list[Problem],
) -> dict[str, tuple[float, int, int]]:
    if request is None:
        return {}
    reference: dict[str, Values] | None = None
    if request.reference is not None:
        folder = request.reference
        files = {str(path.relative_to(folder)): path for path in list_images(folder)}
        if not files:
            raise UserError(f"there are no photos in {folder}.")
        found, wrong = _measure(Pairing(files={ORIGINALS: files}, problems=()), [request.measure], cache, size=size)
        problems += [dataclasses.replace(problem, method=f"FID reference {folder.name}") for problem in wrong]
        reference = found[ORIGINALS]
    return {method: _fid_of(values, method, reference) for method in methods}


def _fid_of(values: MethodValues, method: str, reference: Mapping[str, Values] | None) -> tuple[float, int, int]:
    """The distance of a method, to its own originals unless there is a reference."""
    if reference is None:
        reference = {stem: values[ORIGINALS][stem] for stem in values[method] if stem in values[ORIGINALS]}
    counts = len(values[method]), len(reference)
    if min(counts) < 2:
        return float("nan"), *counts
    sides: list[Any] = []
    for photos in (values[method], reference):
        statistic = fid.RunningStatistics()
        for row in photos.values():
            statistic.add(fid.decode_features(row["features"])[None])
        sides.append(statistic.result())
    return fid.frechet_distance(*sides), *counts


def _fid_protocol(request: FidRequest | None) -> list[str]:
    return [request.protocol] if request else []


def _area(size: int | None) -> str:
    if size is None:
        return "whole photos at full size"
    return f"short side resized to {size} pixels (antialiased bilinear), central {size}x{size} square, 8 bits"
