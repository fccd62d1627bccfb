"""The table of a network's parameters."""

import logging
import shutil

import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.training.overview import check_disk, count_parameters, parameter_overview


def test_every_array_has_a_line_and_the_total_is_their_sum():
    params = {
        "head": {"kernel": np.zeros((3, 3, 4, 125), np.float32), "bias": np.zeros(125, np.float16)},
        "scale": np.float32(1),
    }
    lines = parameter_overview(params).splitlines()
    assert lines[0].split() == ["name", "shape", "type", "size"]
    assert " ".join(lines[2].split()) == "head/kernel 3 x 3 x 4 x 125 float32 4,500"
    assert lines[3].split() == ["head/bias", "125", "float16", "125"]
    assert lines[4].split() == ["scale", "scalar", "float32", "1"]
    assert lines[5] == "total: 4,626"
    assert count_parameters(params) == 4626


def test_the_disk_that_checkpoints_take_is_said_and_refused_where_it_is_not_free(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    state = {"kernel": np.zeros(1_000_000, np.float32)}
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=9_000_000))
    check_disk(state, tmp_path, checkpoints=2)
    assert "up to 8 MB on disk, 9 MB are free" in caplog.text
    with pytest.raises(UserError, match="take up to 12 MB, and only 9 MB are free"):
        check_disk(state, tmp_path, checkpoints=3)
