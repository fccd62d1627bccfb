"""Reads PyTorch weight files (`.pth`, `.pt`) without PyTorch, and without running code from them.

`torch.save` has two layouts. Since version 1.6 a file is an uncompressed zip archive: `NAME/data.pkl` is the pickled
object, `NAME/data/KEY` the bytes of each storage, `NAME/byteorder` their order. Before, it was a sequence of pickles
in one stream: a magic number, the protocol 1001, a dict about the machine, the object, and the list of the storages'
keys; then follow the storages in that order, each an int64 count of its elements and the elements.

In both, the object is a state dict with tensors as calls of `torch._utils._rebuild_tensor_v2(storage, offset, size,
stride, ...)`, where the storage is a persistent id ("storage", type, key, device, count). The unpickler here knows
those names and `OrderedDict`, and no others.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.formats.refusing_unpickler import RefusedName, RefusingUnpickler, printable

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # the upper half of a float32; see `_array`
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_pth(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the tensors of a saved state dict by name, in the file's order and PyTorch's axis order.

    A training checkpoint that keeps its state dict under the key "state_dict" is read as that state dict. bfloat16
    tensors become float32, which holds their values exactly.

    Raises:
      UserError: the file is missing, damaged, not one of `torch.save`, or holds anything else, such as a whole pickled
            model; a file that asks for its own code is refused before any runs.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
            return _state_dict(content)
    except OSError as error:
        raise UserError(f"The weight file {path} cannot be read: {error.strerror or error}.") from error
    except RefusedName as error:
        raise UserError(
            f"The weight file {path} is refused: it asks for {error}, where a state dict needs tensors alone; "
            "save the model's state_dict(), not the model."
        ) from error
    except _NoStateDict as error:
        raise UserError(f"The weight file {path} holds {error}, where a state dict of tensors belongs.") from error
    except Exception as error:  # pickle, zipfile and numpy raise exceptions of every kind on broken bytes
        raise UserError(
            f"The weight file {path} is not a whole file of torch.save ({printable(error)}): get it again."
        ) from error


class _NoStateDict(ValueError):
    """The pickle is valid, but holds something else; the message says what."""


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A flat run of numbers: its key in the file, its numpy type without the byte order, and their count."""

    key: str
    dtype: str
    bfloat16: bool
    count: int

    @property
    def num_bytes(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage, whose bytes may come later in the file; offset and stride count elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Content:
    """A file's content: the unpickled object, and how to get the bytes of a storage."""

    value: Any
    storage_bytes: Callable[[_Storage], bytes]
    byte_order: str


def _read_zip(file: IO[bytes]) -> _Content:
    archive = zipfile.ZipFile(file)
    members = {name.partition("/")[2]: info for name, info in archive.NameToInfo.items()}
    if "data.pkl" not in members:
        raise _NoStateDict("a zip archive of something else")

    def read(member: str, *, length: int | None = None) -> bytes:
        info = members[member]
        if info.compress_type != zipfile.ZIP_STORED:  # torch.save never compresses
            raise ValueError(f"{info.filename} is compressed")
        if length is not None and info.file_size != length:
            raise ValueError(f"{info.filename} has {info.file_size} bytes instead of {length}")
        return archive.read(info)

    order = read("byteorder") if "byteorder" in members else b"little"
    return _Content(
        value=_Unpickler(archive.open(members["data.pkl"])).load(),
        storage_bytes=lambda storage: read(f"data/{storage.key}", length=storage.num_bytes),
        byte_order=_byte_order(little=order.strip() == b"little"),
    )


def _read_legacy(file: IO[bytes]) -> _Content:
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
        raise ValueError("it does not begin with the magic number")
    machine = _Unpickler(file).load()
    order = _byte_order(little=machine["little_endian"])
    unpickler = _Unpickler(file)
    value = unpickler.load()
    stored = {}
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        (count,) = np.frombuffer(file.read(8), f"{order}i8")
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} elements instead of {storage.count}")
        stored[key] = file.read(storage.num_bytes)
    return _Content(value=value, storage_bytes=lambda storage: stored[storage.key], byte_order=order)


def _byte_order(*, little: bool) -> str:
    return "<" if little else ">"


@dataclasses.dataclass(frozen=True)
class _StorageType:
    """Stands for one of torch's storage classes; cannot be called."""

    name: str


def _rebuild_tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _rebuild_parameter(data: _Tensor, *_: Any) -> _Tensor:
    return data


class _Unpickler(RefusingUnpickler):
    """Makes dicts of `_Tensor`, and refuses every name that a state dict does not need.

    After `load`, `storages` has the storages that the pickle refers to, by key.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        **{("torch", name): _StorageType(name) for name in _DTYPES},
    }

    def __init__(self, file: IO[bytes]):
        super().__init__(file, encoding="latin1")  # files from Python 2
        self.storages: dict[str, _Storage] = {}

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise ValueError(f"an object of the kind {kind!r}")
        storage = _Storage(
            key=str(key),
            dtype=_DTYPES[storage_type.name],
            bfloat16=storage_type.name == "BFloat16Storage",
            count=int(count),
        )
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key} is described in two ways")
        return storage


def _state_dict(content: _Content) -> dict[str, np.ndarray]:
    value = content.value
    if isinstance(value, Mapping) and isinstance(value.get("state_dict"), Mapping):
        value = value["state_dict"]
    if not isinstance(value, Mapping):
        raise _NoStateDict(f"a {type(value).__name__.lstrip('_')}")
    flat: dict[str, np.ndarray] = {}
    cache: dict[str, np.ndarray] = {}
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _NoStateDict(f"a {type(tensor).__name__.lstrip('_')} at {name!r}")
        storage = tensor.storage
        if storage.key not in cache:
            cache = {storage.key: _numbers(storage, content)}  # only neighbours can share storages
        flat[name] = _array(tensor, cache[storage.key])
    return flat


def _numbers(storage: _Storage, content: _Content) -> np.ndarray:
    data = content.storage_bytes(storage)
    if len(data) != storage.num_bytes:
        raise ValueError(f"storage {storage.key} is cut short")
    order = "" if storage.dtype == "?" else content.byte_order
    return np.frombuffer(data, order + storage.dtype)


def _array(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    """Returns a tensor's own copy of its elements, contiguous and in the machine's byte order."""
    if len(tensor.size) != len(tensor.stride) or min((*tensor.size, *tensor.stride, tensor.offset), default=0) < 0:
        raise ValueError(f"a tensor of size {tensor.size} and stride {tensor.stride}")
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    if 0 in tensor.size:
        view = np.empty(tensor.size, numbers.dtype)
    elif last < len(numbers):
        strides = [step * numbers.itemsize for step in tensor.stride]
        view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.size, strides, writeable=False)
    else:
        raise ValueError(f"a tensor reaches beyond storage {tensor.storage.key}")
    if tensor.storage.bfloat16:
        return np.asarray(view.astype(np.uint32) << 16, order="C").view(np.float32)
    return np.array(view, view.dtype.newbyteorder("="), order="C")
