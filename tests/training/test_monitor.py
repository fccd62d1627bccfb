import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.training.monitor import Every, StepLog, StopRequest, format_metrics


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


def test_nan_guard_names_the_first_bad_step_and_the_loss_at_fault():
    log = StepLog()
    log.add(7, row(loss=1.0, soft=1.0, seg=0.5), host_wait=0.0)
    log.add(8, row(loss=np.nan, soft=np.nan, seg=0.5), host_wait=0.0)
    log.add(9, row(loss=np.nan, soft=np.nan, seg=np.nan), host_wait=0.0)
    with pytest.raises(UserError, match=r"step 8: soft is nan;"):
        log.drain()


def test_nan_guard_names_the_gradient_when_the_losses_are_finite():
    log = StepLog()
    log.add(3, row(loss=1.0, soft=1.0, grad_norm=np.inf), host_wait=0.0)
    with pytest.raises(UserError, match=r"step 3: grad_norm is inf"):
        log.drain()


def test_a_stop_signal_becomes_a_flag_and_the_old_handler_returns():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_format_metrics_keeps_the_order_and_skips_what_is_absent():
    assert format_metrics({"b": 2.0, "a": 0.12345678}, ("a", "c", "b")) == "a 0.1235  b 2"
