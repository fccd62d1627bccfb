"""What tells one model from another in the record of finished photos."""

import os

import numpy as np
import pytest

from semcolor_jax.inference.finished import fingerprint


def released(folder, *, format):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    if format == 1:
        (folder / "weights").mkdir()
        (folder / "weights" / "data").write_bytes(b"weights")
    else:
        np.savez(folder / "weights.npz", kernel=np.ones(3))
    return folder


@pytest.mark.parametrize("format", [1, 2])
def test_a_copied_release_is_the_same_model_and_a_changed_one_another(tmp_path, format):
    first, copy = released(tmp_path / "a", format=format), released(tmp_path / "b", format=format)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    assert fingerprint(first) == fingerprint(copy)
    (copy / "config.json").write_text('{"seed": 1}')
    assert fingerprint(first) != fingerprint(copy)


def test_a_training_that_has_gone_on_is_another_model(tmp_path):
    checkpoint = tmp_path / "checkpoints" / "1"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"12")
    before = fingerprint(tmp_path)
    os.utime(checkpoint, (1, 1))
    assert fingerprint(tmp_path) != before
