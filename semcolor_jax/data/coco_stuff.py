"""COCO-Stuff (Caesar, Uijlings and Ferrari 2018): 118,287 photos to train on, 5,000 to validate, 182 classes.

Three published archives are unpacked once, photos and label maps reduced to the size that training reads, to
the layout of `data.folder`: DIR/train and DIR/val with images/ and labels/, and DIR/labels.json. That file is
written last, so a DIR that has it is complete, and preparing again goes on where it was interrupted.
"""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from tqdm import tqdm

from semcolor_jax.data.folder import FolderSource, Split
from semcolor_jax.data.photos import decode, write_image
from semcolor_jax.data.taxonomy import COCO_STUFF
from semcolor_jax.errors import UserError
from semcolor_jax.files import write_json

SHORT_SIDE = 256
"""Pixels. Larger photos are reduced to this, which is what training resizes to (config.data.short_side)."""

LABEL_ARCHIVE = "stuffthingmaps_trainval2017.zip"
RAW_UNLABELED = 255
"""Pixel value of the published label maps where nobody labelled; class v has pixel value v - 1."""


def find_prepared(data_dir: str | os.PathLike[str], split: Split) -> FolderSource | None:
    """Returns the prepared data set in a folder, or None if there is none, or only a part of it.

    An empty `data_dir` stands for `coco_stuff` in the folder of TensorFlow Datasets: `$TFDS_DATA_DIR`, or
    `~/tensorflow_datasets`.

    Raises:
      UserError: as `FolderSource`, if the folder holds a damaged data set.
    """
    home = os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    root = Path(data_dir) if os.fspath(data_dir) else Path(home, "coco_stuff")
    needed = (root / "labels.json", root / "train" / "images", root / "val" / "images")
    return FolderSource(root, split) if all(path.exists() for path in needed) else None


def how_to_prepare(data_dir: str | os.PathLike[str]) -> str:
    """Returns the paragraph for a user who has no prepared COCO-Stuff in `data_dir`."""
    where = f"in {os.fspath(data_dir)}" if os.fspath(data_dir) else "(config.data.dir is empty)"
    return (
        f"there is no prepared COCO-Stuff {where}: download train2017.zip (18 GB, 118,287 photos) and "
        "val2017.zip (1 GB, 5,000 photos) from http://images.cocodataset.org/zips/ and "
        "stuffthingmaps_trainval2017.zip (0.7 GB) from "
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/ into one folder ARCHIVES, run "
        "`python -m semcolor_jax prepare coco_stuff --archives ARCHIVES --data_dir DIR`, which fills about "
        "6 GB more, and train with --config.data.dir=DIR; or train on photos of your own with "
        "--config.data.source=folder --config.data.dir=PHOTOS."
    )


def prepare_from_archives(archives_dir: str | os.PathLike[str], out_dir: str | os.PathLike[str]) -> None:
    """Unpacks the published archives for training; photos that are already there are skipped.

    Args:
      archives_dir: folder with train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip as published.
      out_dir: folder to prepare into; made if it does not exist.

    Raises:
      UserError: if an archive is missing, damaged or another one, or `out_dir` cannot be written.
    """
    archives, out = Path(archives_dir), Path(out_dir)
    with _Archive(archives / LABEL_ARCHIVE) as labels:
        for split in ("train", "val"):
            with _Archive(archives / f"{split}2017.zip") as photos:
                _prepare_split(f"{split}2017", photos=photos, labels=labels, out=out / split)
    classes = {str(value): name for value, name in enumerate(COCO_STUFF[1:])}
    write_json(out / "labels.json", {"ignore": None, "unlabeled": RAW_UNLABELED, "classes": classes})


class _Archive:
    """A zip file that several threads may read from."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise UserError(f"there is no file {path}: download it as it is published.") from error
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{path} is not a whole zip file ({error}): download it again.") from error
        self.names = frozenset(self._zip.namelist())
        self._lock = threading.Lock()

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def open(self, name: str) -> Image.Image:
        """Returns an image, not yet decoded. Raises `UserError` naming the archive if it is damaged."""
        try:
            with self._lock:
                content = self._zip.read(name)
            return Image.open(io.BytesIO(content))
        except (zipfile.BadZipFile, zlib.error, OSError) as error:
            raise UserError(f"{self.path} is damaged at {name} ({error}): download it again.") from error


def _prepare_split(folder: str, *, photos: _Archive, labels: _Archive, out: Path) -> None:
    names = sorted(name for name in photos.names if PurePosixPath(name).match(f"{folder}/*.jpg"))
    missing = [name for name in names if _label_name(name) not in labels.names]
    if not names:
        raise UserError(f"{photos.path} holds no photos {folder}/*.jpg: it is not the published archive.")
    if missing:
        raise UserError(f"{labels.path} lacks {_label_name(missing[0])}: it is not the published archive.")
    try:
        for part in ("images", "labels"):
            (out / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}.") from error

    def prepare(name: str) -> None:
        photo = out / "images" / PurePosixPath(name).name
        if not photo.exists():  # written after its label map, so both are there
            _prepare_sample(name, photo=photo, photos=photos, labels=labels)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(prepare, names), total=len(names), desc=f"preparing {folder}"):
            pass


def _prepare_sample(name: str, *, photo: Path, photos: _Archive, labels: _Archive) -> None:
    image = Image.fromarray(decode(photos.open(name), f"{photos.path}: {name}"))
    with labels.open(_label_name(name)) as opened:
        ids = Image.fromarray(np.array(opened))
    if ids.size != image.size:
        raise UserError(f"{labels.path}: {_label_name(name)} is not as large as its photo {name}.")
    scale = min(1.0, SHORT_SIDE / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    ids = ids.resize(size, Image.Resampling.NEAREST)
    write_image(photo.parents[1] / "labels" / photo.with_suffix(".png").name, np.asarray(ids))
    write_image(photo, np.asarray(image.resize(size, Image.Resampling.LANCZOS)))


def _label_name(photo: str) -> str:
    return str(PurePosixPath(photo).with_suffix(".png"))
