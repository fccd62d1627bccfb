"""Checkpoints that are damaged, half written or cannot be written: what is said, and what is used."""

import errno
import logging
import shutil

import pytest
from small_runs import position_of, save_steps, state_of, step_in, steps_of

from semcolor_jax.checkpoints import checksums
from semcolor_jax.checkpoints.training_runs import Checkpoints, read_checkpoint
from semcolor_jax.errors import UserError


@pytest.fixture(autouse=True)
def messages(caplog, monkeypatch):
    """What the package logs; the command lines print the same."""
    monkeypatch.setattr(logging.getLogger("semcolor_jax"), "propagate", True)
    caplog.set_level(logging.INFO, logger="semcolor_jax")
    return caplog


def largest_file(folder):
    return max((path for path in (folder / "state").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(folder):
    largest_file(folder).write_bytes(largest_file(folder).read_bytes()[:-7])


def remove_files(folder):
    shutil.rmtree(folder / "state" / "d")


def flip_bytes(folder):
    file = largest_file(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8] = bytes(255 - b for b in content[len(content) // 2 :][:8])
    file.write_bytes(content)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGE = {truncate: "instead of", remove_files: "is missing", flip_bytes: "checksum", empty: "state is missing"}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, messages, damage):
    save_steps(tmp_path, {1: None, 2: None})
    damage(tmp_path / "checkpoints" / "2")

    found = read_checkpoint(tmp_path, checkpoint="latest")  # reading leaves the folder as it is
    assert (found.step, step_in(found.variables)) == (1, 1)
    assert "step 1" in found.origin
    assert "step 2" in messages.text
    assert DAMAGE[damage] in messages.text
    assert steps_of(tmp_path) == {1, 2}
    with pytest.raises(UserError, match=r"step 2 .*damaged"):
        read_checkpoint(tmp_path, checkpoint=2)

    messages.clear()
    manager = Checkpoints(tmp_path)  # going on sets it aside
    restored, position = manager.restore(state_of(0))
    assert (int(restored.step), position.step) == (1, 1)
    manager.save(state_of(2), position_of(2))
    manager.close()
    assert "step 2" in messages.text
    assert (tmp_path / "damaged_checkpoints" / "2").is_dir()
    assert read_checkpoint(tmp_path, checkpoint="latest").step == 2


def test_a_half_written_checkpoint_is_none(tmp_path):
    save_steps(tmp_path, {1: None})
    shutil.copytree(tmp_path / "checkpoints" / "1", tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp")
    assert read_checkpoint(tmp_path).step == 1
    manager = Checkpoints(tmp_path)
    assert manager.latest_step() == 1
    manager.close()
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"1"}


def test_checkpoints_of_earlier_versions_have_no_checksums_and_are_read(tmp_path):
    save_steps(tmp_path, {1: None})
    (tmp_path / "checkpoints" / "1" / checksums.MANIFEST).unlink()
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "metrics")
    assert read_checkpoint(tmp_path).step == 1
    manager = Checkpoints(tmp_path, keep=1)
    assert int(manager.restore(state_of(0))[0].step) == 1
    manager.save(state_of(2), position_of(2), metrics={"psnr": 20.0})
    manager.close()
    assert steps_of(tmp_path) == {2}


def test_checkpoints_from_before_skipped_batches_were_counted_are_gone_on_with(tmp_path):
    manager = Checkpoints(tmp_path)
    old = state_of(3)
    saved = {name: getattr(old, name) for name in ("step", "params", "batch_stats", "opt_state", "ema")}
    manager.save(saved, position_of(3))
    manager.close()
    manager = Checkpoints(tmp_path)
    restored, _ = manager.restore(state_of(0))
    manager.close()
    assert (int(restored.step), int(restored.skips.total)) == (3, 0)


def test_where_all_are_damaged_nothing_begins_anew_unasked(tmp_path):
    save_steps(tmp_path, {1: None})
    truncate(tmp_path / "checkpoints" / "1")
    with pytest.raises(UserError, match="cannot be used: damaged"):
        read_checkpoint(tmp_path)
    for _ in range(2):
        with pytest.raises(UserError, match=r"All checkpoints of .* are damaged"):
            Checkpoints(tmp_path)


def test_a_damaged_best_one_gives_way_to_the_next_best(tmp_path):
    save_steps(tmp_path, {1: {"psnr": 2.0}, 2: {"psnr": 3.0}, 3: {"psnr": 1.0}}, keep=3)
    truncate(tmp_path / "checkpoints" / "2")
    assert read_checkpoint(tmp_path).step == 1


def test_a_full_disk_ends_in_one_sentence_and_leaves_the_older_checkpoints(tmp_path, monkeypatch):
    manager = Checkpoints(tmp_path, keep=1)
    manager.save(state_of(1), position_of(1))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    manager.save(state_of(2), position_of(2))
    manager._manager.wait_until_finished()
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "write_manifest", full)
        manager.save(state_of(3), position_of(3))
        with pytest.raises(UserError, match=r"step 3 cannot be written to .*: the disk is full; .* from step 2"):
            manager.save(state_of(4), position_of(4))
    manager.close()  # says it once
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2"}
    manager = Checkpoints(tmp_path)
    assert int(manager.restore(state_of(0))[0].step) == 2
    manager.close()
