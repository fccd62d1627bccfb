"""Limits of the web server, and how it refuses what exceeds them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Mapping

from PIL import Image

from semcolor_jax.errors import UserError
from semcolor_jax.photos.reading import size_of

MIB = 2**20
_MOST_SCANS = 200  # scans of a progressive JPEG; encoders make about ten, and each is a pass over all pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """All bounds of one server.

    Attributes:
      upload_bytes: of one photo's file.
      incoming_bytes: of all uploads under way.
      pixels: of one photo.
      working_pixels: of all photos decoded at one time; a larger one goes alone.
      queue: photos waiting or being worked on.
      upload_seconds: for the head of a request, and initially for its body.
      upload_rate: bytes a second that extend the time for a body, and at which answers must be taken.
      answer_seconds: for the work on one photo, waiting included.
      sessions: pages open at one time.
      session_photos: in one page.
      held_bytes: of memory for the photos of all pages.
      idle_seconds: after which a silent page is forgotten.
    """

    upload_bytes: int = 64 * MIB
    incoming_bytes: int = 512 * MIB
    pixels: int = 64_000_000
    working_pixels: int = 128_000_000
    queue: int = 64
    upload_seconds: float = 20.0
    upload_rate: float = 32 * 1024
    answer_seconds: float = 120.0
    sessions: int = 64
    session_photos: int = 200
    held_bytes: int = 1024 * MIB
    idle_seconds: float = 1800.0


class Refused(Exception):
    """A request refused.

    Attributes:
      status: the HTTP status.
      code: for programs, a word.
      reason: for people, a sentence.
      headers: the answer's.
    """

    def __init__(self, status: int, code: str, reason: str, *, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.status, self.code, self.reason, self.headers = status, code, reason, dict(headers or {})

    def as_json(self) -> dict[str, str]:
        """Returns the body of the answer."""
        return {"error": self.code, "reason": self.reason}


def check_photo(content: bytes, limits: Limits, *, name: str) -> int:
    """Returns how many pixels a photo has, from its header alone.

    Raises:
      Refused: it is not a photo (415), or exceeds the limit of pixels or scans (413).
    """
    try:
        height, width = size_of(content, name=name)
    except UserError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise _too_many_pixels(name, limits) from error
        raise Refused(415, "not_a_photo", str(error)) from error
    if height * width > limits.pixels:
        raise _too_many_pixels(name, limits)
    # In a JPEG's data 0xFF is followed by 0: the two bytes are the head of a scan.
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > _MOST_SCANS:
        raise Refused(413, "too_large", f"{name} has more than {_MOST_SCANS} scans, which no camera makes.")
    return height * width


def _too_many_pixels(name: str, limits: Limits) -> Refused:
    most = limits.pixels / 1e6
    return Refused(413, "too_large", f"{name} has more than the {most:g} megapixels that this server takes.")


class Budget:
    """A quantity that requests share; those waiting for a part are served in order."""

    def __init__(self, total: int):
        self.total, self.used = total, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, amount: int) -> bool:
        """Takes a part if available now; returns whether it was."""
        if self.used + amount > self.total:
            return False
        self.used += amount
        return True

    def give(self, amount: int) -> None:
        """Gives a part back."""
        self.used -= amount
        self._serve()

    @contextlib.asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Waits for a part and holds it during the block; a part above the total counts as the total."""
        amount = min(amount, self.total)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, ready))
        self._serve()
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self.give(amount)
            else:
                ready.cancel()
                self._serve()
            raise
        try:
            yield
        finally:
            self.give(amount)

    def _serve(self) -> None:
        while self._waiting:
            amount, ready = self._waiting[0]
            if ready.done():  # cancelled
                self._waiting.popleft()
            elif self.take(amount):
                self._waiting.popleft()
                ready.set_result(None)
            else:
                return
