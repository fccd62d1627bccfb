import h5py
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keeps the scan's cache out of the user's home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def write_photo():
    """Writes a photo of one colour with noise."""

    def write(path, color, *, size=(40, 32), seed=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).normal(0, 20, (size[1], size[0], 3))
        Image.fromarray(np.clip(noise + color, 0, 255).astype(np.uint8)).save(path)
        return path

    return write


CONV_FILTERS = {1: (64, 64), 2: (128, 128), 3: (256, 256, 256), 4: (512, 512, 512), 5: (512, 512, 512)}


@pytest.fixture
def write_constant_h5():
    """Writes a VGG16 for 32 pixels a side whose weights are all 0, so that the last bias is its answer.

    HDF5 stores nothing for data sets that were never written; they read as zeros.
    """

    def write(path, bias):
        shapes, channels = {}, 3
        for block, filters in CONV_FILTERS.items():
            for index, features in enumerate(filters, 1):
                shapes[f"block{block}_conv{index}"] = (3, 3, channels, features)
                channels = features
        shapes |= {"fc1": (512, 4), "fc2": (4, 3), "predictions": (3, len(bias))}
        with h5py.File(path, "w") as file:
            for name, shape in shapes.items():
                file.create_dataset(f"{name}/{name}/kernel:0", shape, np.float32)
                zeros = np.zeros(shape[-1], np.float32)
                file.create_dataset(f"{name}/{name}/bias:0", data=bias if name == "predictions" else zeros)
        return path

    return write
