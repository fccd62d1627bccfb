"""Does the server's heavy work: few tasks at a time, a bounded queue, and batches of one shape."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.hints import check_hints
from semcolor_jax.inference.photo_files import BATCH, Options, colorize_photo, is_small, prepared
from semcolor_jax.inference.strips import Pixels
from semcolor_jax.photos.encoding import encode
from semcolor_jax.photos.formats import writable_format
from semcolor_jax.photos.photo import Photo
from semcolor_jax.photos.reading import read_one
from semcolor_jax.web.limits import Budget, Limits, Refused, check_photo
from semcolor_jax.web.options import Asked

T = TypeVar("T")
_SURE = 0.7  # of the time for an answer: work expected to take longer is refused
_HANDS = 2  # threads that decode, merge and encode; `merge` has its own threads


class Coloured(NamedTuple):
    """The file of a coloured photo: its content, its format by Pillow's name, and notes for the user."""

    content: bytes
    format: str
    notes: tuple[str, ...]


@dataclasses.dataclass(eq=False)
class _Waiting:
    key: tuple[Any, ...]  # only photos with equal keys can share a batch
    pixels: Pixels
    small: bool
    done: asyncio.Future[np.ndarray]


class Engine:
    """The colorizer behind a queue; all methods belong to one event loop.

    One thread runs the network, so that the memory of one batch is all it ever takes. Photos of the same shape and
    settings go through it together when a full batch of them waits, as in `inference.photo_files`; the longest-waiting
    photo decides the next batch.
    """

    def __init__(self, colorizer: Colorizer, limits: Limits):
        self.colorizer, self.limits = colorizer, limits
        self.batches: dict[int, int] = {}  # how many of each size have run
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._hands = ThreadPoolExecutor(_HANDS, thread_name_prefix="hands")
        self._decoded = Budget(limits.working_pixels)
        self._waiting: deque[_Waiting] = deque()
        self._admitted = 0
        self._seconds = 1.0  # that a photo took recently
        self._dispatcher: asyncio.Task[None] | None = None

    @property
    def admitted(self) -> int:
        """Photos waiting or being worked on."""
        return self._admitted

    def close(self) -> None:
        """Ends the threads; work already begun is finished."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()
        self._network.shutdown(wait=False, cancel_futures=True)
        self._hands.shutdown(wait=False, cancel_futures=True)

    def check_place(self) -> None:
        """Raises `Refused` (429, with Retry-After) if the queue is full, or would take longer than an answer may."""
        expected = self._seconds * self._admitted
        if self._admitted >= self.limits.queue or expected > _SURE * self.limits.answer_seconds:
            seconds = str(max(1, min(60, round(expected / 4))))  # by then there should be room again
            reason = f"{self._admitted} photos are waiting already; try again in {seconds} seconds."
            raise Refused(429, "busy", reason, headers={"retry-after": seconds})

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place in the queue; the block has `Limits.answer_seconds`.

        Raises:
          Refused: as `check_place`, or the time is up (503).
        """
        self.check_place()
        self._admitted += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                yield
        except TimeoutError:
            reason = f"The photo was not done within {self.limits.answer_seconds:g} seconds, and was given up."
            raise Refused(503, "too_long", reason, headers={"retry-after": "60"}) from None
        finally:
            # Of n photos at work together each seems to take n times as long.
            self._seconds += 0.1 * ((time.monotonic() - began) / self._admitted - self._seconds)
            self._admitted -= 1

    async def colorize(self, content: bytes, asked: Asked, *, name: str) -> Coloured:
        """Returns a coloured photo, as `photo_files.colorize_bytes` does.

        Args:
          content: a photo file's.
          asked: how to colour, read and write it.
          name: its name in messages.

        Raises:
          Refused: as `check_photo`; the photo cannot be decoded (415).
          UserError: a hint lies outside the photo, or the photo does not fit the format.
        """
        pixels = await self.by_hand(check_photo, content, self.limits, name=name)
        async with self._decoded.hold(pixels):
            photo, notes = await self.by_hand(_decode, content, name, asked.options)
            check_hints(asked.hints, height=photo.pixels.shape[0], width=photo.pixels.shape[1])
            ab = await self._colors(photo.pixels, asked.choice)
            return await self.by_hand(_finish, self.colorizer, photo, ab, asked, notes)

    @contextlib.asynccontextmanager
    async def decoded(self, pixels: int) -> AsyncIterator[None]:
        """Waits until this many more pixels may be decoded, and reserves them during the block."""
        async with self._decoded.hold(pixels):
            yield

    async def by_hand(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Runs work that needs no network in one of its threads."""
        return await asyncio.get_running_loop().run_in_executor(self._hands, lambda: work(*args, **kwargs))

    async def by_network(self, work: Callable[..., T], *args: Any) -> T:
        """Runs work that needs the network in the network's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._network, lambda: work(*args))

    async def _colors(self, pixels: Pixels, choice: ColorChoice) -> np.ndarray:
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.create_task(self._dispatch())
        key = (choice, self.colorizer.network_size(pixels))
        done: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(key, pixels, is_small(pixels, self.colorizer), done))
        return await done

    async def _dispatch(self) -> None:
        """Runs batches until the queue is empty."""
        while batch := self._next_batch():
            colorizer = dataclasses.replace(self.colorizer, choice=batch[0].key[0])
            self.batches[len(batch)] = self.batches.get(len(batch), 0) + 1
            try:
                colors = await self.by_network(colorizer.colors, [waiting.pixels for waiting in batch])
            except Exception as error:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
                continue
            for waiting, ab in zip(batch, colors, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(ab)

    def _next_batch(self) -> list[_Waiting]:
        """Takes the next photo from the queue, or BATCH of its shape. Photos whose client has left are dropped."""
        self._waiting = deque(waiting for waiting in self._waiting if not waiting.done.done())
        if not self._waiting:
            return []
        first = self._waiting[0]
        alike = [waiting for waiting in self._waiting if waiting.key == first.key and waiting.small][:BATCH]
        batch = alike if len(alike) == BATCH and first.small else [first]
        self._waiting = deque(waiting for waiting in self._waiting if waiting not in batch)
        return batch


def _decode(content: bytes, name: str, options: Options) -> tuple[Photo, tuple[str, ...]]:
    try:
        photo = prepared(read_one(content, tolerant=options.tolerant, name=name), options)
    except UserError as error:
        raise Refused(415, "not_a_photo", str(error)) from error
    pages = photo.origin.pages
    more = (f"has {pages} pages, of which the first is coloured",) if pages > 1 else ()
    return photo, (*photo.warnings, *more)


def _finish(colorizer: Colorizer, photo: Photo, ab: np.ndarray, asked: Asked, notes: tuple[str, ...]) -> Coloured:
    kind = asked.format or writable_format(photo.origin, "")
    coloured = colorize_photo(colorizer, photo, ab, asked.hints)
    content, lost = encode(coloured, format=kind, quality=asked.options.quality)
    return Coloured(content, kind, (*notes, *lost))
