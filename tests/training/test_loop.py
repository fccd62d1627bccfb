"""The loop end to end on a tiny network: files, resume, refusals."""

import json

import jax
import numpy as np
import pytest
from tiny_training import stop_after

from semcolor_jax.checkpoints.ranking import LATEST
from semcolor_jax.checkpoints.training_runs import read_checkpoint
from semcolor_jax.errors import PREEMPTED, UserError
from semcolor_jax.inference.restore import load_colorizer
from semcolor_jax.training import loop
from semcolor_jax.training.scalars import FILE

pytestmark = pytest.mark.slow
LAST = 12  # three epochs of four steps


def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path, tiny_config, memory_data, monkeypatch
):
    whole = loop.train(tiny_config, tmp_path / "whole")
    assert int(whole.step) == LAST

    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(SystemExit) as left:
            loop.train(tiny_config, tmp_path / "parts")
    assert left.value.code == PREEMPTED
    assert max(int(p.name) for p in (tmp_path / "parts" / "checkpoints").iterdir()) == 5
    resumed = loop.train(tiny_config, tmp_path / "parts")

    for path, a in jax.tree_util.tree_leaves_with_path(whole):
        b = dict(jax.tree_util.tree_leaves_with_path(resumed))[path]
        assert np.array_equal(np.asarray(a), np.asarray(b)), jax.tree_util.keystr(path)

    # A finished run is left alone: nothing to do, the same state.
    again = loop.train(tiny_config, tmp_path / "parts")
    assert int(again.step) == LAST

    # And what is on disk is the state that training returned, and colours a photo of any size.
    restored = read_checkpoint(tmp_path / "parts", checkpoint=LATEST).variables
    for a, b in zip(jax.tree.leaves(whole.variables), jax.tree.leaves(dict(sorted(restored.items()))), strict=False):
        assert a.dtype == b.dtype
    for path, a in jax.tree_util.tree_leaves_with_path(whole.params):
        b = dict(jax.tree_util.tree_leaves_with_path(restored["params"]))[path]
        assert np.array_equal(np.asarray(a), np.asarray(b)), jax.tree_util.keystr(path)
    photo = memory_data["val"].read(0).image[:37, :23]
    assert load_colorizer(tmp_path / "parts")(photo).rgb.shape == photo.shape

    files = {path.name for path in (tmp_path / "whole").iterdir()}
    assert {"config.json", "prior.json", "parameters.txt", "samples", "checkpoints"} <= files
    assert any(name.startswith("events.out.tfevents") for name in files)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / FILE).read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == LAST
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["model"]["width"] == 4


def test_resume_refuses_another_model_another_batch_and_other_data(tmp_path, tiny_config, memory_data):
    tiny_config.schedule.stage1_epochs, tiny_config.schedule.stage2_epochs = 1, 0
    loop.train(tiny_config, tmp_path)
    stored = (tmp_path / "config.json").read_text()

    wider = tiny_config.copy_and_resolve_references()
    wider.model.width = 8
    with pytest.raises(UserError, match=r"config\.model"):
        loop.train(wider, tmp_path)
    larger_batch = tiny_config.copy_and_resolve_references()
    larger_batch.data.batch_size = 4
    with pytest.raises(UserError, match=r"config\.data\.batch_size was 2, is 4"):
        loop.train(larger_batch, tmp_path)
    memory_data["train"] = type(memory_data["train"])(6)
    with pytest.raises(UserError, match="8 samples of memory"):
        loop.train(tiny_config, tmp_path)
    assert (tmp_path / "config.json").read_text() == stored


def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path, tiny_config, memory_data, monkeypatch):
    scores = iter([30.0, 20.0, 10.0])
    monkeypatch.setattr(loop, "_evaluate", lambda setup, state, step: {"psnr": next(scores)})
    tiny_config.train.eval_every_steps = 4
    tiny_config.train.keep_checkpoints = 1
    tiny_config.train.best_metric = "psnr"
    loop.train(tiny_config, tmp_path)
    assert {int(path.name) for path in (tmp_path / "checkpoints").iterdir()} == {4, LAST}


def test_a_diverging_run_names_the_step_and_saves_nothing_after_it(tmp_path, tiny_config, memory_data):
    tiny_config.schedule.stage1_rate = 1e30
    tiny_config.optimizer.name = "sgd"
    tiny_config.train.log_every_steps = tiny_config.train.max_skipped = 1
    with pytest.raises(UserError, match=r"diverged at step \d+: \w+"):
        loop.train(tiny_config, tmp_path)
    assert not any((tmp_path / "checkpoints").iterdir())
