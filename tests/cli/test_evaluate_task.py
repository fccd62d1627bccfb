"""`--task evaluate`: which samples are scored, by which model, and what is said about it."""

import json

import jax.numpy as jnp
import pytest
from tiny_training import MemorySource

from semcolor_jax.checkpoints.configs import save_config
from semcolor_jax.checkpoints.models import DEFAULT_MODEL
from semcolor_jax.cli import tasks
from semcolor_jax.errors import UserError
from semcolor_jax.models import Predictions


@pytest.fixture
def stubs(monkeypatch, tmp_path):
    """A network that answers grey, and five photos; runs in an empty folder."""
    monkeypatch.setattr(tasks, "make_source", lambda config, split: MemorySource(5))
    grey = lambda lightness: Predictions(ab=jnp.zeros((*lightness.shape[:3], 2)))  # noqa: E731
    monkeypatch.setattr(tasks, "load_predictor", lambda path, checkpoint: grey)
    monkeypatch.chdir(tmp_path)


def test_all_samples_are_scored_whatever_periodic_evaluation_takes(stubs, tiny_config, tmp_path, capsys):
    save_config(tmp_path, tiny_config)
    result = tasks.evaluate(None, tmp_path)
    assert tiny_config.train.eval_samples == 2
    assert (result.images, result.available, result.size) == (5, 5, 32)
    assert "5 images, 32x32" in capsys.readouterr().out.splitlines()[0]


def test_a_limit_says_how_many_of_how_many(stubs, tiny_config, tmp_path, capsys):
    save_config(tmp_path, tiny_config)
    tasks.evaluate(None, tmp_path, limit=3)
    assert "3 of 5 images, 32x32" in capsys.readouterr().out.splitlines()[0]
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert (record["images"], record["available"], record["size"]) == (3, 5, 32)
    with pytest.raises(UserError, match="--limit is 0"):
        tasks.evaluate(None, tmp_path, limit=0)


def test_a_released_model_is_evaluated_at_its_last_size_and_written_beside_no_weights(stubs, tmp_path):
    result = tasks.evaluate(None, DEFAULT_MODEL, limit=1)
    assert result.size == 96  # photos grew during its training
    assert (tmp_path / "runs" / DEFAULT_MODEL / "metrics.json").is_file()
    assert (tmp_path / "runs" / DEFAULT_MODEL / "samples.png").is_file()
    tasks.evaluate(None, DEFAULT_MODEL, limit=1, output=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "metrics.json").is_file()
