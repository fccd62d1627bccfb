"""Scalars on disk: JSON lines that survive a stop, and tensorboard's events only where it is installed."""

import json
import sys

import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.training.scalars import FILE, ScalarWriter


def read_scalars(folder):
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


@pytest.fixture
def no_tensorboard(monkeypatch):
    monkeypatch.setitem(sys.modules, "clu", None)  # its import fails


def test_without_tensorboard_there_are_the_json_lines_alone(tmp_path, no_tensorboard):
    writer = ScalarWriter(tmp_path, step=0)
    writer.write(3, {"loss": 0.5})
    writer.write(6, {"loss": 0.25, "val_psnr": 20})
    writer.close()
    assert read_scalars(tmp_path) == [{"step": 3, "loss": 0.5}, {"step": 6, "loss": 0.25, "val_psnr": 20.0}]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_resumed_run_drops_the_lines_that_it_will_write_again_and_half_a_line(tmp_path, no_tensorboard):
    writer = ScalarWriter(tmp_path, step=0)
    for step in (2, 4, 6):
        writer.write(step, {"loss": step})
    with (tmp_path / FILE).open("a") as file:
        file.write('{"step": 8, "lo')
    ScalarWriter(tmp_path, step=4).write(5, {"loss": 9})
    assert read_scalars(tmp_path) == [{"step": 2, "loss": 2}, {"step": 4, "loss": 4}, {"step": 5, "loss": 9}]


def test_a_folder_that_is_gone_is_said_in_one_sentence(tmp_path, no_tensorboard):
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl"):
        ScalarWriter(tmp_path / "missing", step=0)
