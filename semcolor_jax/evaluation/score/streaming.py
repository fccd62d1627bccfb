"""Reads pairs of photos in threads while the device computes, in batches of few shapes."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.score.measures import Batch
from semcolor_jax.evaluation.score.pairing import ORIGINALS, Problem
from semcolor_jax.metrics.valid_area import bucket
from semcolor_jax.photos.files import read_photo

A = TypeVar("A")
B = TypeVar("B")

BATCH_PIXELS = 16 * 256**2
"""Most pixels of all originals in a batch."""

BATCH_SIZE = 16
"""Most photos in a batch: more gain nothing, and partial batches are padded."""


@dataclasses.dataclass(frozen=True)
class Task:
    """An original, and the methods to measure on it."""

    stem: str
    original: Path
    methods: Mapping[str, Path]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A method's photo and its original, of the same size, as the protocol requires."""

    stem: str
    method: str
    truth: UInt8[np.ndarray, "h w 3"]
    prediction: UInt8[np.ndarray, "h w 3"]
    grayscale: bool


@dataclasses.dataclass(frozen=True)
class MethodBatch:
    """A batch of one shape, and the method of each of its stems."""

    methods: tuple[str, ...]
    grayscale: tuple[bool, ...]
    batch: Batch


def center_square(image: UInt8[np.ndarray, "h w 3"], *, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Returns the central square, after resizing the short side to `size` pixels (antialiased bilinear).

    An image of this exact size is returned as it is. `evaluate.center_square` does the same to a `Sample`.
    """
    if image.shape[:2] == (size, size):
        return image
    short = min(image.shape[:2])
    height, width = (round(side * size / short) for side in image.shape[:2])
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    top, left = (height - size) // 2, (width - size) // 2
    return resized[top : top + size, left : left + size]


def read_pairs(tasks: Iterable[Task], *, size: int | None, threads: int | None = None) -> Iterator[Loaded | Problem]:
    """Yields the tasks' photos in order; an unusable file gives a `Problem`.

    Args:
      tasks: read as needed.
      size: the central square's; None for whole photos.
      threads: for reading and decoding; by default one per core.
    """
    threads = threads or os.cpu_count() or 1
    for results in map_ahead(lambda task: _load(task, size), tasks, threads=threads, ahead=16 + 2 * threads):
        yield from results


def map_ahead(function: Callable[[A], B], items: Iterable[A], *, threads: int, ahead: int) -> Iterator[B]:
    """Yields the function's result for each item, in order, while threads work on the next ones.

    Args:
      function: called in the threads.
      items: taken in the caller's thread, as needed.
      threads: how many.
      ahead: most results that may wait for the caller.
    """
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting: collections.deque[concurrent.futures.Future[B]] = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(pairs: Iterable[Loaded], *, size: int | None) -> Iterator[MethodBatch]:
    """Yields the pairs in batches: all of one shape with a `size`, of few shapes for whole photos.

    Originals get separate batches, which need no measure of pairs.
    """
    open_batches: dict[tuple[tuple[int, int], bool], list[Loaded]] = collections.defaultdict(list)
    for pair in pairs:
        shape = bucket(pair.truth.shape[0], pair.truth.shape[1]) if size is None else (size, size)
        kind = shape, pair.method == ORIGINALS
        open_batches[kind].append(pair)
        if len(open_batches[kind]) == _capacity(shape):
            yield _stack(open_batches.pop(kind), shape)
    for (shape, _), members in open_batches.items():
        yield _stack(members, shape)


def _capacity(shape: tuple[int, int]) -> int:
    return min(BATCH_SIZE, max(1, BATCH_PIXELS // (shape[0] * shape[1])))


def _load(task: Task, size: int | None) -> list[Loaded | Problem]:
    try:
        truth = read_photo(task.original)
    except UserError as error:
        return [Problem("unreadable", ORIGINALS, task.stem, str(error))]
    square = truth if size is None else center_square(truth, size=size)
    results: list[Loaded | Problem] = []
    for method, path in task.methods.items():
        if method == ORIGINALS:
            results.append(Loaded(task.stem, method, square, square, grayscale=_is_grey(square)))
            continue
        try:
            photo = read_photo(path)
        except UserError as error:
            results.append(Problem("unreadable", method, task.stem, str(error)))
            continue
        if photo.shape != truth.shape:
            (height, width), (wanted_height, wanted_width) = photo.shape[:2], truth.shape[:2]
            detail = f"{path} has {width}x{height} pixels, its original {wanted_width}x{wanted_height}"
            results.append(Problem("size", method, task.stem, detail))
            continue
        grey = _is_grey(photo)
        photo = photo if size is None else center_square(photo, size=size)
        results.append(Loaded(task.stem, method, square, photo, grayscale=grey))
    return results


def _is_grey(image: np.ndarray) -> bool:
    sample = image[::16, ::16]  # shows most colour photos to be such
    return all(bool((pixels[..., :1] == pixels[..., 1:]).all()) for pixels in (sample, image))


def _stack(members: list[Loaded], shape: tuple[int, int]) -> MethodBatch:
    rows = members + members[-1:] * (_capacity(shape) - len(members))  # padded, so that it compiles once
    arrays = np.zeros((2, len(rows), *shape, 3), np.uint8)
    for index, row in enumerate(rows):
        height, width = row.truth.shape[:2]
        arrays[0, index, :height, :width] = row.truth
        arrays[1, index, :height, :width] = row.prediction
    return MethodBatch(
        methods=tuple(row.method for row in members),
        grayscale=tuple(row.grayscale for row in members),
        batch=Batch(
            stems=tuple(row.stem for row in members),
            truth=jnp.asarray(arrays[0]),
            prediction=jnp.asarray(arrays[1]),
            sizes=np.array([row.truth.shape[:2] for row in rows], np.int32),
        ),
    )
