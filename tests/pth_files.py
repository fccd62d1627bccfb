"""Writes files as `torch.save` does, opcode by opcode, so that tests need no torch and can write wrong ones."""

import pickle
import zipfile

import numpy as np

STORAGES = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def literal(value) -> bytes:
    """The opcodes that push a value of Python's own types."""
    return pickle.dumps(value, protocol=2)[2:-1]


def tensor(storage, key, count, *, offset=0, size, stride, legacy=False, rebuild="_rebuild_tensor_v2") -> bytes:
    """The opcodes that push a tensor; `storage` is the name of a class in torch."""
    pid = b"(" + literal("storage") + f"ctorch\n{storage}\n".encode() + literal(key) + literal("cpu") + literal(count)
    pid += (b"N" if legacy else b"") + b"tQ"
    arguments = literal(offset) + literal(tuple(size)) + literal(tuple(stride)) + b"\x89" + ORDERED_DICT
    return f"ctorch._utils\n{rebuild}\n".encode() + b"(" + pid + arguments + b"tR"


def state_dict(items: dict[str, bytes]) -> bytes:
    """The pickle of an OrderedDict, whose values are given as opcodes, with torch's attribute `_metadata`."""
    pairs = b"".join(literal(name) + value for name, value in items.items())
    return b"\x80\x02" + ORDERED_DICT + b"(" + pairs + b"u" + literal({"_metadata": {"": {"version": 2}}}) + b"b."


def write_zip(path, pickled: bytes, storages: dict[str, bytes], *, byte_order="little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickled)
        archive.writestr(f"{path.stem}/byteorder", byte_order)
        for key, data in storages.items():
            archive.writestr(f"{path.stem}/data/{key}", data)
        archive.writestr(f"{path.stem}/version", "3\n")
    return path


def write_legacy(path, pickled: bytes, storages: dict[str, tuple[int, bytes]]):
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, machine)]
    parts += [pickled, pickle.dumps(list(storages), protocol=2)]
    parts += [count.to_bytes(8, "little") + data for count, data in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


def write_pth(path, arrays: dict[str, np.ndarray], *, legacy=False):
    """Writes a state dict of contiguous tensors, each with a storage of its own."""
    items, storages = {}, {}
    for index, (name, array) in enumerate(arrays.items()):
        key, data = str(index), np.ascontiguousarray(array).tobytes()
        stride = [step // array.itemsize for step in np.empty(array.shape, array.dtype).strides]
        kind = STORAGES[array.dtype.str[1:]]
        items[name] = tensor(kind, key, array.size, size=array.shape, stride=stride, legacy=legacy)
        storages[key] = (array.size, data)
    if legacy:
        return write_legacy(path, state_dict(items), storages)
    return write_zip(path, state_dict(items), {key: data for key, (_, data) in storages.items()})
