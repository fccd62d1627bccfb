"""The best checkpoint outlives a restart, and is the one that is used."""

import pytest
from small_runs import save_steps, step_in, steps_of


def psnr(value):
    return {"psnr": value}


def test_the_best_checkpoint_survives_a_restart(tmp_path):
    save_steps(tmp_path, {1: psnr(30.0)}, keep=1)
    save_steps(tmp_path, {2: psnr(20.0), 3: psnr(10.0)}, keep=1)
    assert steps_of(tmp_path) == {1, 3}


@pytest.mark.parametrize(("checkpoint", "step"), [("best", 1), ("latest", 3), ("2", 2), (2, 2)])
def test_best_latest_or_any_step_can_be_loaded(tmp_path, checkpoint, step):
    from semcolor_jax.checkpoints.training_runs import read_checkpoint

    save_steps(tmp_path, {1: psnr(30.0), 2: psnr(20.0), 3: psnr(10.0)}, keep=3)
    found = read_checkpoint(tmp_path, checkpoint=checkpoint)
    assert (found.step, step_in(found.variables)) == (step, step)
