"""SIGKILL, which no process can answer: the next call goes on from the last whole checkpoint to the very same end."""

import signal

import pytest
from kills import differences, finish, half_written, start, steps_in


@pytest.mark.slow
def test_a_training_that_was_killed_three_times_ends_as_if_it_had_not_been(tmp_path):
    """`make soak` has thirty kills at random moments; these three fall where the training says, whatever the clock."""
    whole, run, length = tmp_path / "whole", tmp_path / "killed", ("--steps", "12")
    finish(start(whole, *length), whole)

    finish(start(run, *length, "--kill", "stepping:3"), run, code=-signal.SIGKILL)
    assert steps_in(run) == []  # nothing is saved yet

    finish(start(run, *length, "--kill", "written:8"), run, code=-signal.SIGKILL)
    assert (steps_in(run), half_written(run)) == ([4, 6], "8")  # all files are there, but the checksums are not

    finish(start(run, *length, "--kill", "evaluating:12"), run, code=-signal.SIGKILL)
    finish(start(run, *length), run)
    assert differences(run, whole) == []


def test_what_is_compared_is_what_a_training_consists_of(tmp_path):
    """The comparison of two ends sees one bit in the weights, the optimizer and the log, and not the clock."""
    import dataclasses
    import json

    import jax.numpy as jnp

    from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition
    from semcolor_jax.training.state import TrainState

    position = DataPosition(step=5, seed=0, batch_size=8, source="embedded", samples=16)
    ones = jnp.ones(3)
    state = TrainState(step=jnp.int32(5), params={"w": ones}, batch_stats={"m": ones}, opt_state=({"mu": ones},))
    changed = jnp.nextafter(ones, 2 * ones).at[:2].set(1)
    states = {
        "same": state,
        "params": dataclasses.replace(state, params={"w": changed}),
        "statistics": dataclasses.replace(state, batch_stats={"m": changed}),
        "optimizer": dataclasses.replace(state, opt_state=({"mu": changed},)),
    }
    for name, saved in {"whole": state, **states}.items():
        manager = Checkpoints(tmp_path / name)
        manager.save(saved, position)
        manager.close()
        row = {"step": 5, "loss": 1.0, "steps_per_second": float(len(name))}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    found = {name: differences(tmp_path / name, tmp_path / "whole") for name in states}
    assert found == {
        "same": [],
        "params": ["['params']['w']"],
        "statistics": ["['batch_stats']['m']"],
        "optimizer": ["['opt_state'][0]['mu']"],
    }
    (tmp_path / "same" / "metrics.jsonl").write_text('{"step": 5, "loss": 1.5}\n')
    assert differences(tmp_path / "same", tmp_path / "whole") == ["metrics.jsonl"]
