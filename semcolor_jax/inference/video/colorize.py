"""Colours a film part by part: frames keep their lightness, and the network's colours are made steady."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av.error
import cv2
import numpy as np
from jaxtyping import Float32

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.inference.colorize import Colorizer, shrink
from semcolor_jax.inference.strips import merge
from semcolor_jax.inference.video.film import Film, Frame
from semcolor_jax.inference.video.parts import Parts
from semcolor_jax.inference.video.steady import FRAMES, Steady
from semcolor_jax.inference.video.writing import QUALITY, PartWriter, check_streams, format_for, join

PART_FRAMES = 120
"""Frames in a part: the most that a stopped run has to redo."""

_BATCH = 4  # frames per batch of the network

Progress = Callable[[int, int], None]
"""Called with the number of frames done, and the total (0: unknown)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a film is coloured.

    Attributes:
      start: seconds from the film's beginning; None is its beginning.
      end: seconds from the film's beginning; None is its end.
      steady: most frames that colours are averaged over, along the motion; 1 colours each frame by itself.
      quality: the encoder's constant rate factor: 0 is lossless, 51 the worst.
    """

    start: float | None = None
    end: float | None = None
    steady: int = FRAMES
    quality: int = QUALITY

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 51:
            raise UserError(f"The quality is {self.quality}, but must lie in 0..51: 0 is lossless.")
        if self.steady < 1:
            raise UserError(f"The frames to average colours over are {self.steady}, but must be at least 1.")
        if (self.start or 0) < 0 or (self.end is not None and self.end <= (self.start or 0)):
            raise UserError("The start must be at least 0, and the end must come after it.")


@dataclasses.dataclass(frozen=True)
class VideoOutcome:
    """The outcome for a film.

    Attributes:
      frames: how many are in the result.
      cuts: scene changes found in this run.
      notes: for the user, each a clause about the film.
    """

    frames: int
    cuts: int
    notes: tuple[str, ...] = ()


def colorize_video(
    colorizer: Colorizer,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: VideoOptions | None = None,
    *,
    settings: Any = None,
    progress: Progress | None = None,
) -> VideoOutcome:
    """Colours a film; keeps the number and times of its frames, sound, subtitles, tags and chapters.

    Finished parts lie in `.NAME.parts` beside the result until it is complete: a stopped run resumes from them, with
    exactly the colours of an uninterrupted one. Memory does not grow with the film's length.

    Args:
      colorizer: the network and its settings.
      source: the film.
      target: the result: .mp4, .m4v, .mov, .mkv or .webm.
      options: how to colour.
      settings: what else affects the result, such as the model; parts made with other settings are not used.
      progress: called after every batch.

    Raises:
      UserError: the film cannot be read, has no frames in the range, or the result cannot be written.
    """
    options = VideoOptions() if options is None else options
    source, target = Path(source), Path(target)
    format = format_for(target)
    with Film(source) as film:
        if os.path.realpath(source) == os.path.realpath(target):
            raise UserError(f"The output {target} would replace the film itself: choose another name.")
        check_streams(film, target)
        look = [dataclasses.asdict(colorizer.choice), colorizer.side, colorizer.mirror, dataclasses.asdict(options)]
        parts = Parts(target, source, [settings, look, format])
        start, until = _range(film, options)
        done = parts.finished[-1].last if parts.finished else None if start is None else start - 1
        frames = film.frames(after=done, until=until)
        run = _Run(
            colorizer, film, parts, Steady(options.steady, past=parts.past), format=format, quality=options.quality
        )
        told = _told(progress, _expected(film, options))
        told(parts.frames)
        while batch := list(itertools.islice(frames, _BATCH)):
            run.write_part(batch, frames, told)
        if not parts.finished:
            parts.remove()
            raise UserError(f"{source} has no frames that can be read{' in that range' if start is not None else ''}.")
        with replacing(target) as temporary, _sentence(target):
            join(film, parts.finished, temporary, format=format, start=start, until=until)
        parts.remove()
        damaged = (f"has {film.damaged} damaged packets, whose frames are left out",) if film.damaged else ()
        return VideoOutcome(parts.frames, run.steady.cuts, (*film.left_out, *damaged))


@dataclasses.dataclass(frozen=True)
class _Run:
    """What all parts share."""

    colorizer: Colorizer
    film: Film
    parts: Parts
    steady: Steady
    _: dataclasses.KW_ONLY
    format: str
    quality: int

    def write_part(self, batch: list[Frame], following: Iterator[Frame], told: Callable[[int], None]) -> None:
        """Colours a batch and those after it, at most `PART_FRAMES` frames, into the next part."""
        before, done, last = self.parts.frames, 0, batch[-1]
        path = self.parts.next_file()
        with (
            replacing(path) as temporary,
            _sentence(path),
            PartWriter(temporary, self.film, format=self.format, quality=self.quality) as writer,
        ):
            while batch:
                for frame, ab in zip(batch, steady_colors(self.colorizer, batch, self.steady), strict=True):
                    writer.write(merge(frame.pixels, ab), frame)
                done, last = done + len(batch), batch[-1]
                told(before + done)
                batch = list(itertools.islice(following, min(_BATCH, PART_FRAMES - done)))
        assert self.steady.past is not None
        self.parts.add(frames=done, last=last.time, end=last.time + last.duration, past=self.steady.past)


def steady_colors(colorizer: Colorizer, frames: list[Frame], steady: Steady) -> list[Float32[np.ndarray, "h w 2"]]:
    """Returns the colours of consecutive frames, CIE units, at the network's size."""
    pixels = [frame.pixels for frame in frames]
    filled = pixels + pixels[-1:] * (_BATCH - len(pixels))  # one compiled program for all batches
    colors = []
    for picture, ab in zip(pixels, colorizer.colors(filled), strict=False):
        lightness = rgb_to_lab(shrink(picture, side=colorizer.side), xp=np)[..., 0]
        ab = cv2.resize(ab, lightness.shape[::-1], interpolation=cv2.INTER_LINEAR)
        colors.append(steady(lightness, ab))
    return colors


def _told(progress: Progress | None, total: int) -> Callable[[int], None]:
    return (lambda done: None) if progress is None else (lambda done: progress(done, total))


@contextlib.contextmanager
def _sentence(path: Path) -> Iterator[None]:
    """Turns a failure to write a path into one sentence."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}.") from error


def _range(film: Film, options: VideoOptions) -> tuple[int | None, float]:
    """Returns the first time, None for the film's own, and the time at which it ends, in the film's units."""
    cut = options.start is not None or options.end is not None
    start = film.first + round((options.start or 0) / film.time_base) if cut else None
    until = float("inf") if options.end is None else film.first + options.end / float(film.time_base)
    return start, until


def _expected(film: Film, options: VideoOptions) -> int:
    seconds = min(film.seconds, options.end or film.seconds) - (options.start or 0)
    if options.start is None and options.end is None and film.video.frames:
        return film.video.frames
    return max(0, round(seconds * film.rate))
