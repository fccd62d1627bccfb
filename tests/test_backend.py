"""The switch between the forms of programs."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from semcolor_jax import backend
from semcolor_jax.errors import UserError


@pytest.fixture(autouse=True)
def _read_anew():
    backend.form.cache_clear()
    yield
    backend.form.cache_clear()


@pytest.mark.parametrize("choice", ["xla", "cpu"])
def test_the_variable_chooses(choice, monkeypatch):
    monkeypatch.setenv(backend.VARIABLE, choice)
    assert backend.form() == choice
    assert backend.on_one_cpu() == (choice == "cpu")
    monkeypatch.setenv(backend.VARIABLE, "auto")
    assert backend.form() == choice  # read once


def test_an_unknown_value_is_refused(monkeypatch):
    monkeypatch.setenv(backend.VARIABLE, "fast")
    with pytest.raises(UserError, match="SEMCOLOR_OPS is 'fast', but must be one of auto, xla, cpu"):
        backend.form()


@pytest.mark.parametrize(
    ("platform", "devices", "expected"), [("cpu", 1, "cpu"), ("cpu", 4, "xla"), ("gpu", 1, "xla"), ("tpu", 8, "xla")]
)
def test_auto_is_cpu_on_one_cpu_alone(platform, devices, expected, monkeypatch):
    monkeypatch.delenv(backend.VARIABLE, raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert backend.form() == expected
    assert (backend.compiler_options() is None) == (platform != "cpu")


def test_several_cpu_devices_take_xla():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        backend.VARIABLE: "auto",
    }
    script = "from semcolor_jax import backend; print(backend.form())"
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "xla"


@pytest.mark.parametrize("form", ["xla", "cpu"])
def test_only_cpu_has_barriers(form, monkeypatch):
    monkeypatch.setenv(backend.VARIABLE, form)
    program = jax.make_jaxpr(lambda x: backend.barrier({"a": x}))(jnp.ones(2))
    assert ("optimization_barrier" in str(program)) == (form == "cpu")
