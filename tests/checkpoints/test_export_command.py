"""`semcolor model export`: which checkpoint is taken, and what is said."""

import pytest
from small_runs import save_steps, step_in

from semcolor_jax.checkpoints.releases import load_release
from semcolor_jax.checkpoints.trained_part import read_trained
from semcolor_jax.cli.main import main


@pytest.fixture
def run(tmp_path):
    save_steps(tmp_path / "run", {1: {"psnr": 30.0}, 2: {"psnr": 20.0}, 3: None}, keep=2)
    return tmp_path / "run"


@pytest.mark.parametrize(("arguments", "step"), [([], 1), (["--checkpoint", "latest"], 3), (["--checkpoint=2"], 2)])
def test_a_release_is_made_of_the_best_unless_told_otherwise(run, tmp_path, capsys, arguments, step):
    main(["model", "export", "--model", str(run), "-o", str(tmp_path / "out"), "--bits", "8", *arguments])
    assert step_in(load_release(tmp_path / "out")) == step
    said = capsys.readouterr().out
    assert f"step {step}" in said
    assert "8 bits" in said


def test_the_trained_part_is_that_of_the_newest_to_go_on_from(run, tmp_path, capsys):
    main(["model", "export", "--trained", "--model", str(run), "-o", str(tmp_path / "out.npz")])
    assert read_trained(tmp_path / "out.npz")[1]["params/conv/bias"][0] == 3
    assert "step 3 (newest)" in capsys.readouterr().out


def test_a_step_that_is_not_there_is_refused_with_those_that_are(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["model", "export", "--model", str(run), "-o", str(tmp_path / "out"), "--checkpoint", "7"])
    assert left.value.code == 2
    assert "has no checkpoint '7': give best, latest or one of its steps, 1, 2, 3" in capsys.readouterr().err


def test_a_released_model_is_written_again_in_8_bits(run, tmp_path, capsys):
    main(["model", "export", "--model", str(run), "-o", str(tmp_path / "16")])
    main(["model", "export", "--model", str(tmp_path / "16"), "-o", str(tmp_path / "8"), "--bits", "8"])
    assert step_in(load_release(tmp_path / "8")) == 1
    assert f"{tmp_path / '16'}, 8 bits" in capsys.readouterr().out
