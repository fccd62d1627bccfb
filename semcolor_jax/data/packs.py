"""Packs many data sets into a few files: `config.data.source = "pack"`, written by `experiments/pack_photos.py`.

A part is a NumPy .npz file without pickles. It holds the photos' WebP files end to end, the PNG files of their label
maps (COCO-Stuff ids) likewise, and tables of each one's end, size, set, split, scene and name. Its JSON manifest names
the sets with their weights and provenance, and the part's number out of how many. The sets of a pack are mixed by their
weights, as `data.mix` says.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64
from PIL import Image

from semcolor_jax.data.example import Sample, no_labels
from semcolor_jax.data.folder import Split
from semcolor_jax.data.mix import MixedSource
from semcolor_jax.data.supervision import Supervision
from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example

FORMAT = "semcolor-pack"
VERSION = 1
PART_NAME = "part-{number:02d}-of-{total:02d}.npz"

_SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True)
class PackedSet:
    """A pack's entry for one of its data sets.

    Attributes:
      name: the set's.
      weight: how often training draws from it, relative to the others.
      provenance: where it was packed from, and how.
    """

    name: str
    weight: float
    provenance: str


@dataclasses.dataclass(frozen=True)
class PackedPhoto:
    """One encoded photo and its labels, as a part stores them.

    Attributes:
      name: in its set.
      set: number of its set.
      split: "train" or "val".
      size: height and width in pixels.
      photo: its image file.
      labels: the PNG file of its label map; empty if it has none.
      scene_index: (5,) Places365 categories.
      scene_prob: (5,) their probabilities, all 0 if there is no scene.
    """

    name: str
    set: int
    split: Split
    size: tuple[int, int]
    photo: bytes
    labels: bytes
    scene_index: np.ndarray
    scene_prob: np.ndarray

    @property
    def bytes(self) -> int:
        """Its size in a part."""
        return len(self.photo) + len(self.labels) + len(self.name.encode()) + 76


def pack_sample(sample: Sample, *, set: int, split: Split, short_side: int, quality: int) -> PackedPhoto:
    """Encodes a sample: shrunk to a short side of at most `short_side`, as WebP with a quality of 1..100.

    WebP keeps colour at half the resolution, as most JPEG files do.
    """
    height, width = sample.labels.shape
    share = min(1.0, short_side / min(height, width))
    size = (round(width * share), round(height * share))
    photo = Image.fromarray(sample.image).resize(size, Image.Resampling.LANCZOS)
    labels = Image.fromarray(sample.labels).resize(size, Image.Resampling.NEAREST)
    has_labels = bool((sample.labels != 255).any())
    return PackedPhoto(
        name=sample.name,
        set=set,
        split=split,
        size=size[::-1],
        photo=_encoded(photo, "WEBP", quality=quality, method=4),
        labels=_encoded(labels, "PNG", optimize=True) if has_labels else b"",
        scene_index=sample.scene_index,
        scene_prob=sample.scene_prob,
    )


def write_parts(
    folder: Path, sets: Sequence[PackedSet], photos: Sequence[PackedPhoto], *, part_mib: float
) -> list[Path]:
    """Writes photos as parts of at most `part_mib` MiB each, all of about the same size, and returns the files.

    Raises:
      UserError: if the folder has parts already, or cannot be written.
    """
    if _find_parts(folder):
        raise UserError(f"{folder} has parts of a pack already: give another folder, or remove them.")
    folder.mkdir(parents=True, exist_ok=True)
    sizes = np.array([photo.bytes for photo in photos])
    manifest = {"format": FORMAT, "version": VERSION, "sets": [dataclasses.asdict(each) for each in sets]}
    room = part_mib * 2**20 - 2**16 - len(json.dumps(manifest))  # for the headers
    total = max(1, int(np.ceil(sizes.sum() / room)))
    while (bounds := _bounds(sizes, total)) and any(sizes[a:b].sum() > room for a, b in bounds):
        total += 1
    files = [folder / PART_NAME.format(number=i + 1, total=total) for i in range(total)]
    for number, (file, (start, end)) in enumerate(zip(files, bounds, strict=True), 1):
        with replacing(file) as temporary:
            arrays: dict[str, Any] = _arrays({**manifest, "part": number, "parts": total}, photos[start:end])
            np.savez(temporary, **arrays)
    return files


class PackedSource:
    """The photos of one set in one split, from all parts, kept encoded in the host's memory.

    Attributes:
      name: the set's.
      names: the photos'.
    """

    def __init__(self, name: str, rows: Sequence[tuple[Part, int]]):
        """Selects the rows of the parts that hold the set's photos."""
        self.name, self._rows = name, rows
        self.names: Sequence[str] = [part.names[row] for part, row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def supervision(self) -> Supervision:
        """How many of the photos have a label map, and a scene."""
        return Supervision(
            photos=len(self),
            with_labels=sum(bool(part.file("labels", row)) for part, row in self._rows),
            with_scene=sum(bool(part.arrays["scene_prob"][row].any()) for part, row in self._rows),
        )

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each photo in pixels."""
        return np.array([part.arrays["size"][row] for part, row in self._rows], np.int64)

    def read(self, index: int) -> Sample:
        """Returns sample `index`. Raises `UserError` if it is damaged."""
        part, row = self._rows[index]
        where = f"{part.path}: {self.names[index]}"
        image = _decoded(part.file("photo", row), "RGB", where)
        labels = _decoded(part.file("labels", row), "L", where) if part.file("labels", row) else no_labels(image)
        scene = (part.arrays[key][row] for key in ("scene_index", "scene_prob"))
        return Sample(self.names[index], image, labels, *scene)

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph, by way of `read`."""
        from semcolor_jax.data.cpu_tf import tf  # here, because `read` does not need TensorFlow

        def read(index: np.int64) -> tuple[np.ndarray, ...]:
            sample = self.read(int(index))
            return sample.image, sample.labels, sample.scene_index, sample.scene_prob

        arrays = tf.numpy_function(read, [index], (tf.uint8, tf.uint8, tf.int32, tf.float32))
        shapes = {"image": [None, None, 3], "labels": [None, None], "scene_index": [5], "scene_prob": [5]}
        return {key: tf.ensure_shape(array, shapes[key]) for key, array in zip(shapes, arrays, strict=True)}


@dataclasses.dataclass(frozen=True)
class Part:
    """An opened part."""

    path: Path
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    names: Sequence[str]

    def file(self, kind: str, row: int) -> bytes:
        """Returns the image file of a photo, or of its labels."""
        ends = self.arrays[f"{kind}_end"]
        return self.arrays[kind][ends[row - 1] if row else 0 : ends[row]].tobytes()


def open_pack(folder: str, split: Split) -> MixedSource:
    """Returns one split of a pack: its sets, mixed by their weights in training.

    Args:
      folder: of the parts; or several, separated by commas.
      split: of the photos.

    Raises:
      UserError: if parts are missing, damaged or from several packs, or have no photo of the split.
    """
    files = [file for each in folder.split(",") for file in _find_parts(Path(each))]
    if not files:
        raise UserError(f"there are no parts of a pack, {PART_NAME.format(number=1, total=1)} and so on, in {folder}.")
    parts = [_open_part(file) for file in files]
    manifest = parts[0].manifest
    if any(part.manifest["sets"] != manifest["sets"] or part.manifest["parts"] != manifest["parts"] for part in parts):
        raise UserError(f"{folder} holds parts of several packs: keep one.")
    missing = set(range(1, manifest["parts"] + 1)) - {part.manifest["part"] for part in parts}
    if missing:
        numbers = ", ".join(map(str, sorted(missing)))
        raise UserError(f"{folder} lacks part {numbers} of the {manifest['parts']} of its pack.")
    rows: dict[int, list[tuple[Part, int]]] = {}
    for part in sorted(parts, key=lambda part: part.manifest["part"]):
        for row in np.flatnonzero(part.arrays["split"] == _SPLITS.index(split)):
            rows.setdefault(int(part.arrays["set"][row]), []).append((part, int(row)))
    if not rows:
        raise UserError(f"{folder} has no photo of the split {split!r}.")
    sets = [PackedSet(**each) for each in manifest["sets"]]
    sources = [PackedSource(sets[number].name, rows[number]) for number in sorted(rows)]
    # Evaluation takes each sample once, so weights have no effect.
    weights = [sets[number].weight if split == "train" else len(rows[number]) for number in sorted(rows)]
    return MixedSource(sources, weights=weights)


def _find_parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*-of-*.npz"))


def _bounds(sizes: np.ndarray, parts: int) -> list[tuple[int, int]]:
    """Returns where to cut, for parts of about the same number of bytes."""
    total = np.cumsum(sizes)
    cuts = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts)
    edges = [0, *cuts.tolist(), len(sizes)]
    return list(itertools.pairwise(edges))


def _arrays(manifest: dict[str, Any], photos: Sequence[PackedPhoto]) -> dict[str, np.ndarray]:
    return {
        "manifest": _bytes(json.dumps(manifest).encode()),
        "photo": _bytes(b"".join(photo.photo for photo in photos)),
        "photo_end": np.cumsum([len(photo.photo) for photo in photos]),
        "labels": _bytes(b"".join(photo.labels for photo in photos)),
        "labels_end": np.cumsum([len(photo.labels) for photo in photos]),
        "size": np.array([photo.size for photo in photos], np.int32),
        "set": np.array([photo.set for photo in photos], np.int32),
        "split": np.array([_SPLITS.index(photo.split) for photo in photos], np.uint8),
        "scene_index": np.stack([photo.scene_index for photo in photos]).astype(np.int32),
        "scene_prob": np.stack([photo.scene_prob for photo in photos]).astype(np.float32),
        "names": _bytes("\n".join(photo.name for photo in photos).encode()),
    }


def _open_part(path: Path) -> Part:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # NumPy would leave the file open
            arrays = {key: file[key] for key in file.files}
        manifest = json.loads(arrays["manifest"].tobytes())
        names = arrays["names"].tobytes().decode().split("\n")
        known = (manifest["format"], manifest["version"])
    except Exception as error:  # the errors of zip, NumPy and JSON on broken bytes
        raise UserError(f"{path} is no part of a pack, or is damaged: copy it again.") from error
    if known != (FORMAT, VERSION):
        raise UserError(f"{path} is of the form {known}, but this version reads {(FORMAT, VERSION)}: pack anew.")
    return Part(path, manifest, arrays, names)


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _decoded(content: bytes, mode: str, where: str) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert(mode))
    except Exception as error:  # as in `photos.files`: decoders raise exceptions of every kind on broken bytes
        raise UserError(f"{where} is damaged: pack it again.") from error
