"""Measures how steady a film's colours are, and whether moving objects leave ghosts, on a synthetic film.

python experiments/film.py [--model semcolor-v1.1] [--workdir runs/film] [--output FILE.json] [--picture FILE.jpg]

Writes WORKDIR/film.mkv: ten seconds at 854 x 480 with a tone, black and white, of the photos that come with the
dependencies. The camera pans over the first scene; at five seconds there is a cut; in the second the camera rests. An
object moves through both, and there is grain and a flickering lamp, which make colours flicker. The code of `semcolor
video` colours it twice, each frame by itself and steady. All figures are of the decoded results. The motion is known,
so a place can be followed exactly:

- flicker: the mean change of ab from a frame to the next one, at places of the scene that the object covers in neither;
- ghosts: at places that the object has just left, how far the steady colour is shifted from the frame's own towards the
object's: 0 is not at all, 1 fully. Beside it, the same at the other places, as a baseline;
- memory: the peak of a `semcolor video` process for a short film, and for one several times as long.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from absl import app, flags
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # run from anywhere, without an installation

from experiments.benchmarks.serve_load import peak_megabytes
from semcolor_jax.cli import flags as cli
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data import embedded
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.drawing import PhotoCell, draw_rows
from semcolor_jax.files import read_json, write_json
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.restore import DEFAULT_MODEL, load_colorizer
from semcolor_jax.inference.strips import Pixels
from semcolor_jax.inference.video.colorize import VideoOptions, colorize_video
from semcolor_jax.photos.files import write_image

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "Released model, or work directory of a training.")
WORKDIR = flags.DEFINE_string("workdir", "runs/film", "Where the films are written.")
OUTPUT = flags.DEFINE_string("output", "experiments/results/film.json", "The figures.")
PICTURE = flags.DEFINE_string("picture", "docs/images/film.jpg", "Some frames of the film and of both results.")
SIZE = flags.DEFINE_integer("size", None, "Short side in pixels that the network sees; the model's by default.")
SECONDS = flags.DEFINE_float("seconds", 10.0, "Length of the film.", lower_bound=1.0)
LENGTHS = flags.DEFINE_list("lengths", ["5", "20"], "Seconds of the films whose memory is measured.")
MEMORY_ONLY = flags.DEFINE_bool("memory_only", False, "Measure the memory again; the other figures stay.")

HEIGHT, WIDTH, RATE = 480, 854, 25
GRAIN, LAMP = 3.0, 0.03  # standard deviations: levels of each pixel, share of the brightness of each frame
THING = 150  # pixels across
JUST_LEFT = 3  # frames since the object was there
_STEP = 2  # spacing in pixels of the measured places, in both directions
CLEAR = 10.0  # CIE units by which the object's colour must differ from the place's, or no ghost could be seen


class Shot(NamedTuple):
    """One frame and what is known of it.

    Attributes:
      pixels: grey.
      scene: which, 0 or 1.
      left: column of the scene at the frame's left border.
      covered: where the object is.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    scene: int
    left: int
    covered: Bool[np.ndarray, "h w"]


def shots(count: int) -> Iterator[Shot]:
    """Yields the frames of the film."""
    photos = {sample.name: grey_copy(rgb_to_lab(sample.image, xp=np)[..., :1]) for sample in embedded.photos()}
    scenes = [_filled(photos["china"], HEIGHT, WIDTH + 2 * count), _filled(photos["coffee"], HEIGHT, WIDTH)]
    things = [photos["astronaut"][20:240, 120:340], photos["flower"][120:420, 180:480]]
    across = np.linspace(-1, 1, THING)
    pasted = [_filled(thing, THING, THING) for thing in things]
    disc = across**2 + across[:, None] ** 2 < 1
    rng = np.random.default_rng(0)
    for index in range(count):
        scene = int(index >= count // 2)
        left = 0 if scene else 2 * index
        frame = scenes[scene][:, left : left + WIDTH].copy()
        column = WIDTH - THING - 6 * index if not scene else 40 + 5 * (index - count // 2)
        column, row = column % (WIDTH - THING), 250 + round(40 * np.sin(index / 9))
        covered = np.zeros((HEIGHT, WIDTH), bool)
        covered[row : row + THING, column : column + THING] = disc
        frame[covered] = pasted[scene][disc]
        noise = GRAIN * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
        pixels = frame * np.float32(1 + LAMP * rng.normal()) + noise
        yield Shot(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), scene, left, covered)


def write_film(path: Path, frames: Iterator[Shot], seconds: float) -> None:
    """Writes the film with a tone."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=RATE, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound: Any = out.add_stream("aac", rate=44100, layout="mono")
        for start in range(0, int(44100 * seconds), 1024):
            wave = 0.2 * np.sin(2 * np.pi * 440 * np.arange(start, start + 1024) / 44100)
            samples = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 44100, start, Fraction(1, 44100)
            out.mux(sound.encode(samples))
        out.mux(sound.encode(None))
        for shot in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(shot.pixels, format="rgb24")))
        out.mux(video.encode(None))


@dataclasses.dataclass(frozen=True)
class Remembering(Colorizer):
    """Runs the network once per frame, and caches its colours."""

    seen: dict[bytes, Float32[np.ndarray, "h w 2"]] = dataclasses.field(default_factory=dict)

    def colors(self, photos: Sequence[Pixels]) -> Float32[np.ndarray, "photos h w 2"]:
        """Returns the network's colours, as `Colorizer.colors`."""
        keys = [photo.tobytes()[::997] for photo in photos]
        if any(key not in self.seen for key in keys):
            self.seen.update(zip(keys, super().colors(photos), strict=True))
        return np.stack([self.seen[key] for key in keys])


def measure(frames: list[Shot], single: Path, steady: Path) -> dict[str, Any]:
    """Returns the figures of the two results; the module's docstring says what they are."""
    flicker: dict[str, list[float]] = collections.defaultdict(list)
    ghosts, chance = [], []
    before: tuple[Any, ...] | None = None
    recent: list[Bool[np.ndarray, "h w"]] = []
    for shot, alone, calm in zip(frames, _ab(single), _ab(steady), strict=True):
        covered = _sparse(shot.covered)
        if before is not None and before[0].scene == shot.scene:
            moved = (shot.left - before[0].left) // _STEP
            here, there = np.s_[:, : alone.shape[1] - moved], np.s_[:, moved:]
            free = ~covered[here] & ~_sparse(before[0].covered)[there]
            for name, now, then in (("single", alone, before[1]), ("steady", calm, before[2])):
                change = np.linalg.norm(now[here] - then[there], axis=-1)[free].mean()
                flicker[f"{'resting' if shot.scene else 'moving'} {name}"].append(float(change))
        else:
            recent = []
        if len(recent) == JUST_LEFT:
            left = np.logical_or.reduce(recent) & ~covered
            thing = alone[covered].mean(axis=0)
            towards = thing - alone
            length = np.linalg.norm(towards, axis=-1)
            share = np.sum((calm - alone) * towards, axis=-1) / np.maximum(length, 1e-6) ** 2
            clear = length > CLEAR
            if (left & clear).any():
                ghosts.append(float(share[left & clear].mean()))
            chance.append(float(share[~left & ~covered & clear].mean()))
        recent = [*recent, covered][-JUST_LEFT:]
        before = shot, alone, calm
    means = {name: statistics.fmean(values) for name, values in flicker.items() if values}
    kinds = [kind for kind in ("moving", "resting") if f"{kind} single" in means]
    ratios = {f"{kind} ratio": means[f"{kind} steady"] / means[f"{kind} single"] for kind in kinds}
    found = {"ghosts": statistics.fmean(ghosts), "elsewhere": statistics.fmean(chance)} if ghosts else {}
    return {"flicker": {name: round(value, 3) for name, value in (means | ratios).items()}} | {
        "ghosts": {name: round(value, 4) for name, value in found.items()}
    }


def peak_memory(folder: Path, seconds: float) -> dict[str, float]:
    """Returns the peak memory of colouring a film of this length, in MB (10^6 bytes)."""
    count = round(seconds * RATE)
    film, result = folder / f"length{count}.mkv", folder / f"length{count}_coloured.mkv"
    write_film(film, shots(count), seconds)
    command = [sys.executable, "-m", "semcolor_jax", "video", film, "-o", result, "--overwrite"]
    size = ["--size", str(SIZE.value)] if SIZE.value else []
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen([*command, "--model", MODEL.value, *size], env=os.environ | {"PYTHONPATH": root})
    peak = 0.0
    while process.poll() is None:  # not by getrusage: its maximum starts from the parent process's
        peak = max(peak, peak_megabytes(process.pid) or 0)
        time.sleep(0.1)
    if process.returncode:
        raise UserError(f"Colouring {film} ended with exit code {process.returncode}; see above.")
    return {"frames": count, "peak_mb": peak}


def draw(frames: list[Shot], single: Path, steady: Path, shown: list[int]) -> UInt8[np.ndarray, "h w 3"]:
    """Draws some frames: the film, each by itself, steady."""
    rows: list[dict[str, PhotoCell]] = [{}, {}, {}]
    films = _pixels(single), _pixels(steady)
    for index, (shot, *coloured) in enumerate(zip(frames, *films, strict=True)):
        if index in shown:
            pictures = {"film": shot.pixels, "by itself": coloured[0], "steady": coloured[1]}
            for row, (note, pixels) in zip(rows, pictures.items(), strict=True):
                row[f"frame {index}"] = PhotoCell(np.asarray(Image.fromarray(pixels).resize((356, 200))), note)
    return draw_rows(list(rows[0]), rows)


def _filled(photo: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the photo enlarged to fill a picture, extended in width by its mirror image."""
    scale = height / photo.shape[0]
    size = round(photo.shape[1] * scale), height
    picture = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
    while picture.shape[1] < width:
        picture = np.concatenate([picture, picture[:, ::-1]], axis=1)
    return picture[:, :width]


def _pixels(path: Path) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _sparse(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    return mask[::_STEP, ::_STEP]


def _ab(path: Path) -> Iterator[Float32[np.ndarray, "h w 2"]]:
    for pixels in _pixels(path):
        yield rgb_to_lab(pixels[::_STEP, ::_STEP], xp=np)[..., 1:]


def main(_: list[str]) -> None:
    """Makes the film, colours it twice, and measures."""
    folder = Path(WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    figures = read_json(Path(OUTPUT.value)) if MEMORY_ONLY.value else steadiness(folder)
    figures["memory"] = [peak_memory(folder, float(seconds)) for seconds in LENGTHS.value]
    write_json(Path(OUTPUT.value), figures)
    print(figures)


def steadiness(folder: Path) -> dict[str, Any]:
    """Colours the film twice; returns the figures and writes the picture."""
    count = round(SECONDS.value * RATE)
    film, single, steady = (folder / f"{name}.mkv" for name in ("film", "single", "steady"))
    write_film(film, shots(count), SECONDS.value)
    loaded = load_colorizer(MODEL.value)
    colorizer = Remembering(loaded.predictor, side=SIZE.value or loaded.side, choice=loaded.choice)
    colorize_video(colorizer, film, single, VideoOptions(steady=1, quality=12), progress=_say)
    outcome = colorize_video(colorizer, film, steady, VideoOptions(quality=12), progress=_say)
    frames = list(shots(count))
    figures = {"model": MODEL.value, "side": colorizer.side, "frames": count, "cuts found": outcome.cuts}
    figures |= measure(frames, single, steady)
    half = count // 2
    shown = [half // 2, half // 2 + 1, half // 2 + 2, half, half + half // 2, half + half // 2 + 1]
    write_image(Path(PICTURE.value), draw(frames, single, steady, shown))
    return figures


def _say(done: int, total: int) -> None:
    if done % 40 == 0:
        print(f"{done} of {total} frames", flush=True)


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
