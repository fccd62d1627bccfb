"""The three archives of COCO-Stuff in their published layout, with tiny samples, or with real ones."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from semcolor_jax.data.coco_stuff import CocoStuffSource, find_prepared
from semcolor_jax.taxonomy.label_sets import load_taxonomy

PANOPTIC = Path(__file__).parents[3] / "shared" / "data" / "labelled" / "coco_panoptic.tar"
"""Real COCO photos with label maps; not part of the project."""

LABELS = "stuffthingmaps_trainval2017.zip"
SIZES = {
    "train2017/000000000009": (300, 280),
    "train2017/000000000025": (40, 30),
    "train2017/000000000030": (20, 24),
    "val2017/000000000139": (30, 20),
}
"""Width and height by name; 30 is grey."""


def opened(data_dir, split, **options) -> CocoStuffSource:
    """`find_prepared` of a data set that is there."""
    source = find_prepared(data_dir, split, **options)
    assert source is not None
    return source


def encoded(array, suffix, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format={"jpg": "JPEG", "png": "PNG"}[suffix], **options)
    return buffer.getvalue()


def ids(width, height):
    """The published coding: left half person (0), then sky-other (156), the last tenth unlabeled (255)."""
    array = np.zeros((height, width), np.uint8)
    array[:, width // 2 :] = 156
    array[:, -width // 10 :] = 255
    return array


def photo(name):
    width, height = SIZES[name]
    color = np.array([200, 200, 200] if name.endswith("30") else [220, 120, 40], np.uint8)
    array = np.broadcast_to(color, (height, width, 3)).copy()
    array[:, : width // 2] = 255 - array[:, : width // 2]
    return array


def files():
    """Returns the content of every file, by archive and name."""
    archives = {"train2017.zip": {"train2017/": b""}, "val2017.zip": {"val2017/": b""}, LABELS: {}}
    for name, (width, height) in SIZES.items():
        archives[f"{name.split('/')[0]}.zip"][f"{name}.jpg"] = encoded(photo(name), "jpg", quality=95)
        archives[LABELS][f"{name}.png"] = encoded(ids(width, height), "png")
    return archives


def real(folder, *, count):
    """Unpacks PANOPTIC into a folder; returns the files of so many photos a split, and the class of each of its ids."""
    with tarfile.open(PANOPTIC) as tar:
        tar.extractall(folder, filter="data")
    label_of_id = np.zeros(256, np.uint8)
    for number, name in json.loads((folder / "labels.json").read_text())["classes"].items():
        label = load_taxonomy("coco_panoptic").label_id(name)  # the "-merged" ones go where the table sends them
        label_of_id[int(number)] = 0 if label == 255 else label
    archives = {"train2017.zip": {}, "val2017.zip": {}, LABELS: {}}
    for split in ("train", "val"):
        for path in sorted((folder / split / "images").glob("*.jpg"))[:count]:
            archives[f"{split}2017.zip"][f"{split}2017/{path.name}"] = path.read_bytes()
            labels = label_of_id[np.array(Image.open(path.parents[1] / "labels" / f"{path.stem}.png"))]
            raw = np.where(labels == 0, 255, labels - 1).astype(np.uint8)
            archives[LABELS][f"{split}2017/{path.stem}.png"] = encoded(raw, "png")
    return archives, label_of_id


def write(folder, archives=None):
    """Writes the archives into the folder, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, content in (archives or files()).items():
        with zipfile.ZipFile(folder / archive, "w") as file:
            for name, data in content.items():
                file.writestr(name, data)
    return folder
