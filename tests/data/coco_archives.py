"""The three archives of COCO-Stuff in their published layout, with tiny samples."""

import io
import zipfile

import numpy as np
from PIL import Image

from semcolor_jax.data.coco_stuff import CocoStuffSource, find_prepared

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


def write(folder, archives=None):
    """Writes the archives into the folder, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, content in (archives or files()).items():
        with zipfile.ZipFile(folder / archive, "w") as file:
            for name, data in content.items():
                file.writestr(name, data)
    return folder
