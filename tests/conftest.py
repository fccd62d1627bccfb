import contextlib
import os

import pytest

# Tests neither use nor fill the user's cache of compiled programs.
os.environ["SEMCOLOR_COMPILE_CACHE"] = "off"

# Several processes of tests share the cores: threads of one would only wait for those of the others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()

# Where TensorFlow is loaded before torchvision, loading torchvision ends the process (tensorflow-cpu 2.21, torchvision
# 0.29). Only environments of the parity tests have it.
with contextlib.suppress(ImportError, RuntimeError):
    import torchvision  # noqa: F401


@contextlib.contextmanager
def _form(form, monkeypatch):
    """Has programs take a form of `semcolor_jax.backend`, whatever form those compiled so far have."""
    import jax

    from semcolor_jax import backend

    before = backend.form()
    with monkeypatch.context() as patch:
        patch.setenv(backend.VARIABLE, form)
        backend.form.cache_clear()
        changed = backend.form() != before
        if changed:
            jax.clear_caches()
        yield
    backend.form.cache_clear()
    if changed:
        jax.clear_caches()


@pytest.fixture(params=["cpu", "xla"])
def each_form(request, monkeypatch):
    """Runs a test in both forms, whichever the process has; gives the form's name."""
    with _form(request.param, monkeypatch):
        yield request.param


@pytest.fixture
def cpu_form(monkeypatch):
    with _form("cpu", monkeypatch):
        yield


@pytest.fixture
def xla_form(monkeypatch):
    with _form("xla", monkeypatch):
        yield
