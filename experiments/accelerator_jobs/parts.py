"""Saves weights, in 16 bits, as a few files of bounded size that can be copied away while the training continues.

A save is one `.npz` (the arrays of `checkpoints.compact`, and the config) cut into parts. What 16 bits cannot hold, for
instance large variances of batch normalisation, stays in 32. Each part begins with one line of JSON: which save it
belongs to, which part it is, and the SHA-256 of its bytes. All parts of a save are written under temporary names before
the first is renamed, so a killed process leaves the earlier save whole, except for the moment between two renames;
reading refuses parts of different saves.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import config_from_saved
from semcolor_jax.checkpoints import compact
from semcolor_jax.errors import UserError

PATTERN = "weights.part*"
_CONFIG, _FACTS = "config", "facts"
_NAME = "weights.part{}"


class Weights(NamedTuple):
    """The content of a save."""

    variables: dict[str, Any]  # "params" and "batch_stats", numpy float32
    config: ConfigDict
    facts: dict[str, Any]  # of the run: steps, images, ...


def write_parts(
    folder: Path, variables: Mapping[str, Any], *, config: ConfigDict, facts: Mapping[str, Any], part_mib: float
) -> list[Path]:
    """Writes a save, replacing the last one; returns the files.

    Args:
      folder: the target; it must exist.
      variables: "params" and "batch_stats", of any float type.
      config: of the training, without which the weights cannot be used.
      facts: of the run, for JSON.
      part_mib: largest size of a part in MiB.

    Raises:
      UserError: the folder cannot be written, or a weight is not finite.
    """
    content = _content(variables, config=config, facts=facts)
    size = max(1, int(part_mib * 2**20) - 1024)  # but for the line of JSON
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    save = uuid.uuid4().hex
    files: dict[Path, Path] = {}
    try:
        for number, piece in enumerate(pieces, start=1):
            header = {"save": save, "part": number, "parts": len(pieces), "sha256": hashlib.sha256(piece).hexdigest()}
            temporary = folder / f".{save}.{number}"
            files[temporary] = folder / _NAME.format(number)
            temporary.write_bytes(json.dumps(header).encode() + b"\n" + piece)
        stale = set(folder.glob(PATTERN)) - set(files.values())
        for temporary, path in files.items():
            os.replace(temporary, path)
        for path in stale:  # of an earlier save that had more parts
            path.unlink()
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}.") from error
    finally:
        for temporary in files:
            with contextlib.suppress(OSError):
                temporary.unlink()
    return list(files.values())


def read_parts(folder: Path) -> Weights:
    """Reads a save.

    Raises:
      UserError: there is none, a part is missing or damaged, or parts belong to different saves.
    """
    pieces: dict[int, bytes] = {}
    headers = []
    for path in sorted(folder.glob(PATTERN)):
        header, piece = _read_part(path)
        headers.append(header)
        pieces[header["part"]] = piece
    if not headers:
        raise UserError(f"there are no weights in {folder}: it has no files {_NAME.format('1, 2, ...')}.")
    if len({header["save"] for header in headers}) > 1:
        raise UserError(f"the parts in {folder} are of different saves: take those of one, all together.")
    missing = [number for number in range(1, headers[0]["parts"] + 1) if number not in pieces]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(_NAME.format(number) for number in missing)} of the weights.")
    return _parse(b"".join(pieces[number] for number in sorted(pieces)), folder)


def _content(variables: Mapping[str, Any], *, config: ConfigDict, facts: Mapping[str, Any]) -> bytes:
    arrays: dict[str, Any] = dict(compact.pack(variables))
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise UserError(f"the weights {name} are not finite, so they are not saved.")
    buffer = io.BytesIO()
    np.savez(
        buffer, **{_CONFIG: np.array(json.dumps(config.to_dict())), _FACTS: np.array(json.dumps(dict(facts))), **arrays}
    )
    return buffer.getvalue()


def _read_part(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        line, _, piece = path.read_bytes().partition(b"\n")
        header = json.loads(line)
        if header["sha256"] == hashlib.sha256(piece).hexdigest():
            return header, piece
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path} is damaged, or no part of saved weights.")


def _parse(content: bytes, folder: Path) -> Weights:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        config = config_from_saved(json.loads(str(arrays.pop(_CONFIG))))
        facts = json.loads(str(arrays.pop(_FACTS)))
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"the weights in {folder} belong to another version of this project: {error}.") from error
    tree = unflatten_dict(compact.unpack(arrays), sep="/")
    return Weights({"params": tree["params"], "batch_stats": tree.get("batch_stats") or {}}, config, facts)
