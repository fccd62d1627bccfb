"""Reads Caffe's other weight format: HDF5, `.caffemodel.h5`, with a layer's blobs as data/LAYER/0, ..."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from semcolor_jax.errors import UserError


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins like HDF5."""
    with Path(path).open("rb") as file:
        return file.read(4) == b"\x89HDF"


def read_caffe_h5(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Returns the blobs of each layer that has any, by the layer's name, in Caffe's layout.

    Raises:
      UserError: the file is damaged, or not a Caffe weight file.
    """
    try:
        with h5py.File(path, "r") as file:
            layers = file.get("data")
            if not isinstance(layers, h5py.Group):
                raise UserError(f"{path} is an HDF5 file, but not one of Caffe's weights: it has no group 'data'.")
            found = {name: _blobs(layer) for name, layer in layers.items() if isinstance(layer, h5py.Group)}
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's errors on broken bytes
        raise UserError(f"{path} is not a readable HDF5 file ({error}): download it again.") from error
    return {name: blobs for name, blobs in found.items() if blobs}


def _blobs(layer: h5py.Group) -> list[np.ndarray]:
    blobs = {str(name): np.asarray(array) for name, array in layer.items() if isinstance(array, h5py.Dataset)}
    return [blobs[name] for name in sorted(blobs, key=lambda name: (len(name), name))]
