"""Runs of accelerator.py's ablation and comparison go on where they were stopped."""

import json

import jax
import numpy as np
import pytest
from accelerator_jobs import training, trials
from accelerator_jobs.parts import read_parts
from accelerator_jobs.resumable import Resumable

from semcolor_jax.errors import UserError
from semcolor_jax.training.loop import Setup

STEPS = 5


@pytest.fixture
def config(tiny_training):
    tiny_training.schedule.steps_total = STEPS
    return tiny_training


class StoppedAfter3(Resumable):
    """Saves after every update and is killed after the third."""

    def __init__(self, setup: Setup):
        super().__init__(setup, every=0)

    def offer(self, state, step):
        super().offer(state, step)
        if step == 3:
            raise KeyboardInterrupt


def test_a_stopped_run_goes_on_bit_for_bit_and_leaves_only_its_weights(session, config, monkeypatch):
    monkeypatch.setattr(training, "LOG_SECONDS", 0)
    setup, state = training.begin(session, config, name="whole")
    whole = training.train(session, setup, state)

    monkeypatch.setattr(trials, "Resumable", StoppedAfter3)
    with pytest.raises(KeyboardInterrupt):
        trials._train_and_score(session, config, "case, seed 0")
    work = session.workdir / "case_seed_0"
    assert [path.name for path in (work / "checkpoints").iterdir()] == ["3"]
    session.save_report()

    monkeypatch.setattr(trials, "Resumable", Resumable)
    other = config.copy_and_resolve_references()
    other.loss.reg = 3.0
    with pytest.raises(UserError, match=r"config\.loss\.reg was 1\.0, is 3\.0"):
        trials._train_and_score(session, other, "case, seed 0")
    resumed = trials._train_and_score(session, config, "case, seed 0")
    assert (resumed["steps"], resumed["images"]) == (STEPS, STEPS * config.data.batch_size)
    assert "goes on after 3 updates" in (session.workdir / "log.txt").read_text()
    assert not (work / "checkpoints").exists()
    metrics = (work / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics] == [1, 2, 3, 4, 5]

    kept = read_parts(work).variables["params"]
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a, np.float16), b), whole.variables["params"], kept
    )
