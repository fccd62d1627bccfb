"""Trainings of accelerator.py that fill a given time."""

import time

import jax
import jax.numpy as jnp
import pytest
from accelerator_jobs import smoke, speed, training, trials
from accelerator_jobs.parts import read_parts

from semcolor_jax.errors import UserError


def test_filling_the_cache_takes_no_time_from_the_training(session, tiny_training, monkeypatch):
    batches = training.loop.training_batches

    def slowly_filled(setup, state):
        time.sleep(2)
        yield from batches(setup, state)

    monkeypatch.setattr(training.loop, "training_batches", slowly_filled)
    monkeypatch.setattr(training, "LOG_SECONDS", 0.1)
    trained = training.train(session, *training.begin(session, tiny_training, name="timed"), seconds=1.0)
    assert trained.facts["steps"] > 3
    assert trained.facts["seconds"] < 2
    assert trained.facts["last_rate"] < 2e-5


def test_a_save_that_fails_does_not_cost_the_last_one(session, tiny_training, monkeypatch):
    save, calls = session.save_weights, []

    def fails_once(*arguments, **named):
        calls.append(named["facts"]["steps"])
        if len(calls) == 1:
            raise UserError("the disk is full.")
        save(*arguments, **named)

    monkeypatch.setattr(session, "save_weights", fails_once)
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)
    tiny_training.schedule.steps_total = 3
    training.train(session, *training.begin(session, tiny_training, name="saved"), save=True)
    assert read_parts(session.output).facts["steps"] == calls[-1] == 3
    assert "the last save failed: the disk is full." in (session.workdir / "log.txt").read_text()


def test_forms_that_would_cost_the_trainings_their_time_are_not_measured(session, tiny_training, monkeypatch):
    def measured(session, config, *, seconds):
        time.sleep(0.2)
        return {"images_per_second": 10}

    def no_training(*_, **__):
        raise UserError("stop here")

    monkeypatch.setattr(smoke, "_alone", measured)
    monkeypatch.setattr(training, "begin", no_training)
    session.budget = session.elapsed + 0.6
    with pytest.raises(UserError, match="stop here"):
        smoke.run(session, tiny_training, seconds=1, batch_sizes=(8, 16))
    log = (session.workdir / "log.txt").read_text()
    assert "batch 4: {" in log
    assert "batch 8: not begun" in log
    assert "batch 16: not begun" in log


def test_trials_train_equally_long_and_those_without_time_are_not_begun(session, tiny_training, monkeypatch):
    trained = []

    def train_and_score(session, config, title, *, seconds):
        trained.append((title, seconds))
        session.budget -= 30  # as if it had taken so long
        slept = time.perf_counter() + 0.05
        while time.perf_counter() < slept:
            pass
        return {"mean": {}, "images": 0}

    monkeypatch.setattr(trials, "_train_and_score", train_and_score)
    session.budget = session.elapsed + 100
    trials.run_trials(session, tiny_training, reserve=10, balanced={"reg": 20.0})
    assert [title for title, _ in trained] == ["recipe", "balanced", "lambda 0.5"]
    assert {round(seconds, 2) for _, seconds in trained} == {5.0}
    assert "lambda 1: not begun" in (session.workdir / "log.txt").read_text()


class _NotCounted:
    """A lowered function on a device whose client counts no operations, as those of accelerators."""

    def cost_analysis(self):
        return None


def test_operations_are_counted_where_the_device_does_not(monkeypatch):
    product = jax.jit(lambda key, a, b: (jax.random.uniform(key), a @ b))
    arguments = (jax.random.key(0), jnp.ones((300, 400)), jnp.ones((400, 500)))
    rate = speed.rate_of(product.lower(*arguments), product, *arguments, calls_per_second=1000)
    assert rate == {"tflops": pytest.approx(2 * 300 * 400 * 500 * 1000 / 1e12, rel=0.01)}
    assert speed.rate_of(_NotCounted(), product, *arguments, calls_per_second=1000) == rate
    monkeypatch.setattr(jax, "local_devices", lambda backend: jax.devices("none"))
    rate = speed.rate_of(_NotCounted(), product, *arguments, calls_per_second=1000)
    assert rate["operations"].startswith("not counted: ")
