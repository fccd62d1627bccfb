import contextlib
import gc
import os
import shutil
import sys
from pathlib import Path

import pytest

# Most of a test's time is XLA compiling. So processes and later runs share compiled programs, apart from the user's own
# cache. Without LLVM's optimisations, tiny networks compile in half the time and run hardly slower.
CACHE = Path(__file__).parents[1] / ".pytest_cache" / "xla"
os.environ["SEMCOLOR_COMPILE_CACHE"] = "off"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # initialisers are many small programs
flags = ["--xla_backend_optimization_level=0"]

# Several processes of tests share the cores: threads of one would only wait for those of the others.
if "PYTEST_XDIST_WORKER" in os.environ:
    flags.append("--xla_cpu_multi_thread_eigen=false")

given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([given, *(flag for flag in flags if flag.partition("=")[0] not in given)]).strip()

# Where TensorFlow is loaded before torchvision, loading torchvision ends the process (tensorflow-cpu 2.21, torchvision
# 0.29). Only environments of the parity tests have it.
with contextlib.suppress(ImportError, RuntimeError):
    import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]  (only there)


def pytest_sessionstart(session):
    """Begins the cache anew when it has grown too large: JAX's own limit has every write look at every file."""
    if not hasattr(session.config, "workerinput") and sum(file.stat().st_size for file in CACHE.glob("*")) > 2**30:
        shutil.rmtree(CACHE)


@pytest.fixture(autouse=True, scope="module")
def _forgets_the_programs_of_a_file():
    """Frees what a file's tests have compiled: those of all files are a gigabyte in each process."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


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


@pytest.fixture
def no_shape_checks(monkeypatch):
    """For tests of what the program itself refuses: the checks of annotations (pyproject.toml) would come first."""
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


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
