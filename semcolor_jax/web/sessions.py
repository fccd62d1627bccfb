"""Keeps the photos of open web pages in memory, until the page closes."""

from __future__ import annotations

import dataclasses
import secrets
import time

import numpy as np
from jaxtyping import Float32, UInt8

from semcolor_jax.inference.flat import Coloured
from semcolor_jax.inference.look import Look
from semcolor_jax.web.limits import Limits, Refused


@dataclasses.dataclass(eq=False)
class Kept:
    """One photo of a page.

    Attributes:
      name: its file name, made safe.
      content: its file.
      pixels: how many it has.
      size: height and width, upright.
      grey: its lightness at screen size, as sRGB grey.
      part: the part that gets colour.
      look: what the network saw.
      shifts: of the variants, once asked for (`Look.shifts`).
      notes: for the user, each a clause about the file.
    """

    name: str
    content: bytes
    pixels: int
    size: tuple[int, int]
    grey: UInt8[np.ndarray, "h w"]
    part: Coloured
    look: Look
    notes: tuple[str, ...] = ()
    shifts: Float32[np.ndarray, "n h w 2"] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory, including the variants', which come later."""
        variants = 8 * 11 * (self.look.classes.size if self.look.classes is not None else 0)
        return len(self.content) + self.grey.nbytes + self.look.nbytes + variants


@dataclasses.dataclass(eq=False)
class Session:
    """One open page: its photos by id, and when it was last heard from (seconds, monotonic)."""

    photos: dict[str, Kept] = dataclasses.field(default_factory=dict)
    heard: float = dataclasses.field(default_factory=lambda: time.monotonic())

    def photo(self, key: str) -> Kept:
        """Returns a photo. Raises `Refused` (404) if the page has none with this id."""
        try:
            return self.photos[key]
        except KeyError:
            raise Refused(404, "no_photo", "There is no such photo; it may have been removed.") from None


class Sessions:
    """All open pages. Their names cannot be guessed, so no page sees another's photos."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def held(self) -> int:
        """Bytes that the photos of all pages take."""
        return sum(kept.nbytes for session in self._open.values() for kept in session.photos.values())

    def begin(self) -> str:
        """Opens a page and returns its name. Raises `Refused` (429) if there are too many."""
        self.forget_idle()
        if len(self._open) >= self._limits.sessions:
            reason = f"{len(self._open)} pages are open already; close one."
            raise Refused(429, "busy", reason, headers={"retry-after": "60"})
        name = secrets.token_urlsafe(24)
        self._open[name] = Session()
        return name

    def get(self, name: str | None) -> Session:
        """Returns a page, and notes that it was heard from. Raises `Refused` (410) if it is not open."""
        self.forget_idle()
        session = self._open.get(name or "")
        if session is None:
            minutes = self._limits.idle_seconds / 60
            raise Refused(410, "session_gone", f"The photos are gone after {minutes:g} idle minutes; add them again.")
        session.heard = time.monotonic()
        return session

    def end(self, name: str) -> None:
        """Forgets a page and its photos."""
        self._open.pop(name, None)

    def check_room(self, session: Session, size: int) -> None:
        """Raises `Refused` if a page may hold no more photos (409), or memory no file of this many bytes (503)."""
        if len(session.photos) >= self._limits.session_photos:
            raise Refused(409, "too_many", f"The page has {len(session.photos)} photos already; remove some first.")
        if self.held + size > self._limits.held_bytes:
            reason = "The server's memory for photos is full; remove some, or close other pages."
            raise Refused(503, "full", reason, headers={"retry-after": "60"})

    def add(self, session: Session, kept: Kept) -> str:
        """Keeps a photo and returns its id. Raises `Refused` as `check_room`."""
        self.check_room(session, kept.nbytes)
        key = secrets.token_hex(8)
        session.photos[key] = kept
        return key

    def forget_idle(self) -> None:
        """Forgets the pages that have been silent for too long."""
        now = time.monotonic()
        for name, session in list(self._open.items()):
            if now - session.heard > self._limits.idle_seconds:
                del self._open[name]

    def clear(self) -> None:
        """Forgets all."""
        self._open.clear()
