import logging
import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.training.monitor import Every, Pace, StepLog, StopRequest, format_metrics


def row(**values):
    return {name: jnp.asarray(value, jnp.float32) for name, value in ({"learning_rate": 0.1} | values).items()}


def test_every_is_due_at_multiples_and_at_the_end():
    assert [step for step in range(11) if Every(4).due(step, last=10)] == [4, 8, 10]


def test_step_log_averages_and_forgets():
    log = StepLog()
    log.add(1, row(loss=1.0), host_wait=0.0)
    log.add(2, row(loss=3.0, learning_rate=0.2), host_wait=0.0)
    means = log.drain()
    assert means["loss"] == pytest.approx(2.0)
    assert means["learning_rate"] == pytest.approx(0.2)  # the last, not the mean
    assert log.drain() == {}


def test_host_wait_is_a_fraction_of_the_time():
    log = StepLog()
    log._since -= 10.0
    log.add(1, row(loss=1.0), host_wait=5.0)
    assert log.drain()["host_wait"] == pytest.approx(0.5, rel=0.01)


def bad(in_a_row, **values):
    return row(skipped=in_a_row, skipped_in_a_row=in_a_row, **values)


def test_too_many_skipped_batches_name_the_first_step_and_the_loss_at_fault():
    log = StepLog(max_skipped=2)
    log.add(7, bad(0, loss=1.0, soft=1.0, seg=0.5), host_wait=0.0)
    log.add(8, bad(1, loss=np.nan, soft=np.nan, seg=0.5), host_wait=0.0)
    log.add(9, bad(2, loss=np.nan, soft=np.nan, seg=np.nan), host_wait=0.0)
    with pytest.raises(UserError, match=r"step 8: soft is nan, and 2 batches in a row"):
        log.drain()


def test_the_gradient_is_named_when_the_losses_are_finite():
    log = StepLog(max_skipped=1)
    log.add(3, bad(1, loss=1.0, soft=1.0, grad_norm=np.inf), host_wait=0.0)
    with pytest.raises(UserError, match=r"step 3: grad_norm is inf"):
        log.drain()


def test_a_few_skipped_batches_are_said_and_count_in_no_mean(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("semcolor_jax"), "propagate", True)
    log = StepLog(max_skipped=2)
    for step, (in_a_row, loss) in enumerate([(1, np.nan), (0, 1.0), (1, np.inf), (0, 3.0)]):
        log.add(step, row(loss=loss, skipped=(step + 2) // 2, skipped_in_a_row=in_a_row), host_wait=0.0)
    means = log.drain()
    assert (means["loss"], means["skipped"]) == (2.0, 2.0)
    assert "Skipped 2 of 4 batches, the first at step 0: loss is nan" in caplog.text
    log.add(4, row(loss=np.nan, skipped=3, skipped_in_a_row=1), host_wait=0.0)
    assert log.drain().keys() == {"learning_rate", "skipped", "steps_per_second", "host_wait"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stop_signal_becomes_an_exit_code_and_the_old_handler_returns(number, code):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.code(1) is None
        os.kill(os.getpid(), number)
        assert stop.code(2) == code
    assert signal.getsignal(number) is before


def test_format_metrics_keeps_the_order_and_skips_what_is_absent():
    assert format_metrics({"b": 2.0, "a": 0.12345678}, ("a", "c", "b")) == "a 0.1235  b 2"


@pytest.mark.parametrize(("seconds", "said"), [(1.0, "1 s a step: about 94 seconds to go"), (30.0, "about 47 minutes")])
def test_the_pace_is_said_once_and_without_the_compilation(seconds, said):
    pace = Pace(10, 110)
    sentences = [pace.sentence(step, now=1000 + seconds * step) for step in range(11, 111)]
    assert [step for step, text in enumerate(sentences, 11) if text] == [16]
    assert said in sentences[5]


def test_a_run_that_ends_by_then_says_no_pace():
    pace = Pace(0, 6)
    assert not any(pace.sentence(step, now=float(step)) for step in range(1, 7))
