"""Colouring photos at full resolution: the network gives small ab planes, the photo keeps its lightness."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.photos import list_images, open_image, read_photo, write_image
from semcolor_jax.data.taxonomy import PLACES365
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.branches import BRANCHES, ColorChoice, Predict, branch_colors, segment
from semcolor_jax.inference.network import Readout, read_out
from semcolor_jax.inference.strips import merge
from semcolor_jax.models import Predictor, SemColorNet

MAX_ASPECT = 4
"""The network's long side is at most this many times `side`, so that panoramas fit into memory."""

WRITABLE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""The file formats that hold 8-bit RGB and so can be written under the input's name."""

_GRID = 32  # sides that the network sees are multiples of it
_TOP_SCENES = 5


@dataclasses.dataclass(frozen=True)
class Colorized:
    """A coloured photo, and what the network saw in it.

    `rgb` has the photo's size; `ab` (CIE units) and `segmentation` (COCO-Stuff classes) have the size at
    which the network ran, over its output stride. `scenes` holds the five likeliest Places365 categories with
    their probabilities. `segmentation` and `scenes` are None where the network has no such branch.
    """

    rgb: UInt8[np.ndarray, "height width 3"]
    ab: Float32[np.ndarray, "h w 2"]
    scenes: Sequence[tuple[str, float]] | None
    segmentation: UInt8[np.ndarray, "h w"] | None


@dataclasses.dataclass(frozen=True)
class Colorizer:
    """Photo in, photo of the same size out.

    Attributes:
      predictor: lightness to predictions.
      side: longest short side in pixels that the network sees; smaller photos are not enlarged.
      choice: how the colour branches make the final colour.
    """

    predictor: Predict
    _: dataclasses.KW_ONLY
    side: int = 256
    choice: ColorChoice = dataclasses.field(default_factory=ColorChoice)

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UserError(f"The side is {self.side} pixels, but must be at least 1.")

    def __call__(self, photo: UInt8[np.ndarray, "height width 3"]) -> Colorized:
        """Returns the photo with its own lightness and the network's colours.

        Raises:
          UserError: the network lacks the branch.
        """
        small = shrink(photo, side=self.side)
        output = self._read_out(rgb_to_lab(small, xp=np)[None, ..., :1])
        ab = np.asarray(output.ab[0], np.float32)
        return Colorized(
            rgb=merge(photo, ab),
            ab=ab,
            scenes=None if output.scene_logits is None else top_scenes(np.asarray(output.scene_logits[0])),
            segmentation=None if output.classes is None else np.asarray(output.classes[0]),
        )

    def _read_out(self, lightness: Float32[np.ndarray, "1 h w 1"]) -> Readout:
        if isinstance(self.predictor, Predictor) and isinstance(self.predictor.model, SemColorNet):
            model = self.predictor.model
            self._check_branch([branch for branch in BRANCHES if branch in model.branches])
            return read_out(model, self.predictor.variables, lightness, choice=self.choice)
        predictions = self.predictor(lightness)
        colors = branch_colors(predictions, temperature=self.choice.temperature)
        self._check_branch(list(colors))
        return Readout(jnp.asarray(self.choice.apply(colors)), segment(predictions), predictions.scene_logits)  # type: ignore[arg-type]

    def _check_branch(self, present: Sequence[str]) -> None:
        for branch in self.choice.needs:
            if branch not in present:
                raise UserError(f"The network has no branch {branch!r}; it has: {', '.join(present) or 'none'}.")


def top_scenes(logits: Float[np.ndarray, " scenes"]) -> list[tuple[str, float]]:
    """Returns the five likeliest Places365 categories and their probabilities, likeliest first."""
    probabilities = np.asarray(jax.nn.softmax(logits))
    best = np.argsort(-probabilities, kind="stable")[:_TOP_SCENES]
    return [(PLACES365[index], float(probabilities[index])) for index in best]


def colorize_files(
    colorizer: Colorizer, paths: Iterable[str | os.PathLike[str]], out_dir: str | os.PathLike[str]
) -> list[Path]:
    """Colours image files into a folder, under the same names and in the same sizes; returns what it wrote.

    A folder among `paths` stands for all images below it, whose places in it are kept; images in `out_dir`
    itself are not taken as input. `out_dir` is created. All inputs are checked before the first photo is
    coloured, and each file appears complete or not at all.

    Raises:
      UserError: an input is missing, not an image, or of a format that cannot be written; two inputs have the
        same name; an output would replace an input; the folder cannot be written; there is nothing to colour.
    """
    out_dir = Path(out_dir)
    targets = _plan([Path(path) for path in paths], out_dir)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        upcoming = [*targets, None][1:]
        photo = reader.submit(read_photo, next(iter(targets)))
        written: Future[None] | None = None
        for target, after in zip(targets.values(), upcoming, strict=True):
            # One photo is read and one is written while the network works on a third.
            current, photo = photo, reader.submit(read_photo, after) if after else photo
            _make_folder(target.parent)
            rgb = colorizer(current.result()).rgb
            if written is not None:
                written.result()
            written = writer.submit(write_image, target, rgb)
        assert written is not None  # `_plan` refuses an empty list
        written.result()
    return list(targets.values())


def _plan(paths: Sequence[Path], out_dir: Path) -> dict[Path, Path]:
    """Returns the output of every input file, after all checks that need no colouring."""
    targets: dict[Path, Path] = {}
    origin: dict[Path, Path] = {}
    for source, name in _expand(paths, out_dir):
        target = out_dir / name
        if target in origin:
            raise UserError(f"{origin[target]} and {source} would both be written to {target}; use two output folders.")
        origin[target] = source
        targets[source] = target
    inputs = {os.path.realpath(source): source for source in targets}
    for source, target in targets.items():
        if os.path.realpath(target) in inputs:
            raise UserError(
                f"The output {target} would replace the input {inputs[os.path.realpath(target)]}; "
                "choose another output folder."
            )
        _check_image(source)
    return targets


def _expand(paths: Sequence[Path], out_dir: Path) -> list[tuple[Path, Path]]:
    """Returns every input file with its path inside the output folder."""
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        outside = [image for image in list_images(path) if not _is_below(image, out_dir)]
        if not outside:
            raise UserError(f"The folder {path} holds no images to colour.")
        found += [(image, image.relative_to(path)) for image in outside]
    if not found:
        raise UserError("There is nothing to colour; name at least one image or folder.")
    return found


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _check_image(path: Path) -> None:
    open_image(path).close()
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        raise UserError(
            f"{path} cannot be coloured under its own name: its format is not one that can be written "
            f"({', '.join(WRITABLE_SUFFIXES)}); convert it first."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The output folder {folder} cannot be made: {error.strerror or error}.") from error


def shrink(photo: UInt8[np.ndarray, "height width 3"], *, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the photo as the network sees it, shrunk as in training (pixels, not Lab)."""
    height, width = photo.shape[:2]
    scale = min(1.0, side / min(height, width), MAX_ASPECT * side / max(height, width))
    size = _network_side(width, scale), _network_side(height, scale)
    if size == (width, height):
        return photo
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))


def _network_side(side: int, scale: float) -> int:
    """Returns the side times the scale, as a multiple of 32 if it is above 64.

    So photos of many sizes and aspect ratios share few compiled programs. The picture is stretched by a few
    per cent, which photos in training are, too, and needs no padding; ab is stretched back with it.
    """
    scaled = max(1, round(side * scale))
    if scaled <= 2 * _GRID:
        return scaled
    return min(round(scaled / _GRID), side // _GRID) * _GRID
