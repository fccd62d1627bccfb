"""Reads a film file: its frames with their times, and its other streams."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from jaxtyping import UInt8

from semcolor_jax.errors import UserError

_BT709, _BT601 = 1, 6  # codes of ISO/IEC 23091-2 for matrix, primaries and transfer
_HD = 720  # rows from which an untagged film is taken for BT.709


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
      pixels: upright sRGB, 8 bits.
      time: when it is shown, in units of the film's time base.
      duration: how long, in the same units.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    time: int
    duration: int


class Film:
    """An open file with a film in it; a context manager.

    Attributes:
      path: of the file.
      container: PyAV's.
      video: the stream of the pictures.
      time_base: seconds in a unit of time.
      rate: frames a second, on average; 25 if the file does not say.
      first: time of the first frame; 0 if the file does not say.
      damaged: packets that could not be decoded so far.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Opens the file. Raises `UserError` if it cannot be read or has no video."""
        self.path = Path(path)
        try:
            self.container: Any = av.open(os.fspath(self.path), "r")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UserError(f"{self.path} cannot be read as a film: {_reason(error)}.") from error
        pictures = [s for s in self.container.streams.video if not _is_cover(s)]
        if not pictures or not pictures[0].codec_context or not pictures[0].codec_context.width:
            self.container.close()
            raise UserError(f"{self.path} has no film in it: name a file with moving pictures.")
        self.video: Any = pictures[0]
        self.video.thread_type = "AUTO"
        self.time_base = Fraction(self.video.time_base or Fraction(1, 1000))
        self.rate = Fraction(self.video.average_rate or self.video.guessed_rate or 25)
        self.first = self.video.start_time or 0
        self.damaged = 0

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def seconds(self) -> float:
        """Length of the film; 0 if the file does not say."""
        if self.video.duration:
            return float(self.video.duration * self.time_base)
        return (self.container.duration or 0) / 1e6

    @property
    def matrix(self) -> int:
        """The code of the colour-to-YCbCr matrix: BT.709 or BT.601."""
        said = self.video.codec_context.colorspace
        return said if said in (_BT709, _BT601) else _BT709 if self.video.codec_context.height >= _HD else _BT601

    @property
    def others(self) -> list[Any]:
        """The streams that are copied: sound, subtitles and attachments."""
        return [s for s in self.container.streams if s.type in ("audio", "subtitle", "attachment")]

    @property
    def left_out(self) -> list[str]:
        """What is not copied, each a clause."""
        streams = [s for s in self.container.streams if s is not self.video and s not in self.others]
        return [f"its stream {s.index} ({'cover' if _is_cover(s) else s.type}) is left out" for s in streams]

    def frames(self, *, after: int | None = None, until: float = float("inf")) -> Iterator[Frame]:
        """Yields the frames later than `after` and earlier than `until`, in units of time.

        What cannot be decoded is counted in `damaged` and left out; the others keep their times. Frames without a time
        are spaced at the film's rate.
        """
        usual = max(1, round(1 / (self.rate * self.time_base)))
        last = None
        for frame in self._decoded(after):
            time = frame.pts
            if time is None or (last is not None and time <= last):
                time = self.first if last is None else last + usual
            last = time
            if after is not None and time <= after:
                continue
            if time >= until:
                return
            yield Frame(self._pixels(frame), time, frame.duration or usual)

    def _decoded(self, after: int | None) -> Iterator[Any]:
        """Yields frames, beginning with one no later than `after`: a seek may end anywhere."""
        if after is not None and after > self.first:
            with contextlib.suppress(av.error.FFmpegError):
                self.container.seek(after, stream=self.video)
                frames = self._packets()
                first = next(frames, None)
                if first is not None and first.pts is not None and first.pts <= after:
                    yield first
                    yield from frames
                    return
        self.rewind()
        yield from self._packets()

    def _packets(self) -> Iterator[Any]:
        packets = self.container.demux(self.video)
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self.damaged += 1
                if packet is None or self.damaged > 10_000:
                    return
                continue
            yield from frames

    def rewind(self) -> None:
        """Reopens the file at its beginning: not all formats can seek."""
        index, damaged = self.video.index, self.damaged
        self.container.close()
        self.container = av.open(os.fspath(self.path), "r")
        self.video = self.container.streams[index]
        self.video.thread_type = "AUTO"
        self.damaged = damaged

    def _pixels(self, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        context = self.video.codec_context
        pixels = frame.reformat(width=context.width, height=context.height, format="rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, round((frame.rotation or 0) / 90)))


def _is_cover(stream: Any) -> bool:
    return stream.type == "video" and bool(stream.disposition & stream.disposition.__class__.attached_pic)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
