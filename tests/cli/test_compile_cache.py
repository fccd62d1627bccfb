import os
import subprocess
import sys

import jax
import pytest

from semcolor_jax.cli.compile_cache import VARIABLE, enable_compile_cache


@pytest.fixture(autouse=True)
def restored(monkeypatch, tmp_path):
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_users_cache_folder_is_used(tmp_path):
    folder = tmp_path / "cache" / "semcolor_jax" / "xla"
    assert enable_compile_cache() == folder
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_another_folder_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")
    assert enable_compile_cache() is None
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert enable_compile_cache() == tmp_path / "mine"


def test_a_folder_that_jax_knows_stays(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert enable_compile_cache() == tmp_path


def test_a_relative_xdg_folder_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert enable_compile_cache() == tmp_path / ".cache/semcolor_jax/xla"


def test_a_folder_that_cannot_be_made_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    assert enable_compile_cache() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_programs_are_written_without_a_warning(tmp_path):
    code = (
        "import jax, jax.numpy as jnp\n"
        "from semcolor_jax.cli.compile_cache import enable_compile_cache\n"
        "enable_compile_cache(); jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8))).sum())"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONWARNINGS": "error", "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    for _ in range(2):  # writes, then reads
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
    assert any((tmp_path / "semcolor_jax" / "xla").iterdir())
