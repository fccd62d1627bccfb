"""The command `semcolor video FILM -o RESULT`, which colours a film."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import Any

from semcolor_jax.cli.arguments import add_command, model, path, positive_int
from semcolor_jax.errors import UserError

_LINE_SECONDS = 10.0  # between progress lines without a terminal


def add_parser(commands: Any) -> None:
    """Adds `video` to the subparsers of the program; imports nothing heavy."""
    parser = add_command(
        commands,
        "video",
        help="colour a black-and-white film",
        example="semcolor video wedding.mp4 -o wedding_in_colour.mp4",
    )
    add = parser.add_argument
    add("film", type=path, metavar="FILM", help="file of any kind that FFmpeg reads")
    add("-o", "--output", type=path, required=True, metavar="RESULT", help=".mp4, .m4v, .mov, .mkv or .webm")
    add("--start", type=seconds, metavar="T", help="where to begin: seconds, or [hours:]minutes:seconds")
    add("--end", type=seconds, metavar="T", help="where to end, from the film's beginning")
    add("--steady", type=positive_int, metavar="N", help="frames that colours are averaged over; 1: none (12)")
    add("--quality", type=int, metavar="Q", help="of the pictures, 0 (lossless) to 51 (16)")
    add("--overwrite", action="store_true", help="replace an existing result")
    add("--model", type=model, metavar="M", help="released model, work directory or weights (default: the release)")
    add("--checkpoint", default="best", metavar="best|latest|STEP", help="of a training (default: best)")
    add("--saturation", type=float, metavar="S", help="strength of the colours; 1 is the network's own")
    add("--temperature", type=float, metavar="T", help="of the annealed mean, (0, 1]; lower is more vivid")
    add("--branch", choices=["soft", "reg", "both"], help="what makes the colour: distribution, regression, or both")
    add("--soft-weight", type=float, metavar="W", help="of the distribution in --branch both, 0..1")
    add("--size", type=int, metavar="N", help="short side in pixels that the network sees (default: the model's)")
    parser.set_defaults(run=run, tta=False)


def seconds(text: str) -> float:
    """Returns the seconds in "12.5", "1:02" or "1:02:03.5". Raises ValueError for anything else."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise ValueError
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


seconds.__name__ = "time"  # argparse names the type in its message


def run(arguments: argparse.Namespace) -> None:
    """Colours a film; exits with 130 at Ctrl-C. Raises `UserError` for a mistake of the user's."""
    from semcolor_jax.inference.video.colorize import VideoOptions, colorize_video  # PyAV and OpenCV first: an extra
    from semcolor_jax.inference.video.film import Film

    film, target = arguments.film, arguments.output
    if target.exists() and not arguments.overwrite:
        raise UserError(f"{target} is there already: choose another name, or replace it with --overwrite.")
    asked = {name: getattr(arguments, name) for name in ("start", "end", "steady", "quality")}
    options = VideoOptions(**{name: value for name, value in asked.items() if value is not None})
    Film(film).__exit__()  # a file that is not a film is reported before the network is loaded
    progress = _Progress()
    try:
        colorizer, settings = _network(arguments)
        outcome = colorize_video(colorizer, film, target, options, settings=settings, progress=progress)
    except KeyboardInterrupt:
        progress.close()
        print(f"Stopped after {progress.counts()}. The same command goes on from here.", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        progress.close()
    for note in outcome.notes:
        print(f"{film}: {note}.", file=sys.stderr)
    print(f"coloured {outcome.frames} frames.", file=sys.stderr)
    print(os.fspath(target))


def _network(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Returns the colorizer, and what identifies its model."""
    from semcolor_jax.checkpoints.models import DEFAULT_MODEL, find_model
    from semcolor_jax.cli.colorize_command import _colorizer
    from semcolor_jax.inference.finished import fingerprint

    where = find_model(DEFAULT_MODEL if arguments.model is None else arguments.model)
    return _colorizer(arguments), [fingerprint(where), arguments.checkpoint]


class _Progress:
    """A bar with the remaining time on a terminal, or a line every ten seconds elsewhere; on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._began: tuple[float, int] | None = None
        self._said = 0.0
        self._done = self._total = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began, self._said = (now, done), now
            if done:
                print(f"going on after {done} frames that are done.", file=sys.stderr)
            if sys.stderr.isatty():
                from tqdm import tqdm

                self._bar = tqdm(total=total or None, initial=done, unit="frame", file=sys.stderr)
        elif self._bar is not None:
            self._bar.update(done - self._done)
        elif now - self._said >= _LINE_SECONDS:
            self._said = now
            print(self._line(now, done, total), file=sys.stderr)
        self._done, self._total = done, total

    def counts(self) -> str:
        """Returns the progress as text."""
        return f"{self._done} of {self._total} frames" if self._total else f"{self._done} frames"

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, now: float, done: int, total: int) -> str:
        assert self._began is not None
        rate = (done - self._began[1]) / (now - self._began[0])
        if not total or not rate:
            return f"{done} frames, {rate:.1f} a second"
        minutes, rest = divmod(round(max(0, total - done) / rate), 60)
        left = f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
        return f"{done} of {total} frames, {rate:.1f} a second, {left} left"
