"""Keeps compiled programs between runs, so that a command does not recompile the network each time."""

from __future__ import annotations

import os
from pathlib import Path

import jax

VARIABLE = "SEMCOLOR_COMPILE_CACHE"
"""The environment variable with another folder, or "off"."""


def enable_compile_cache() -> Path | None:
    """Makes JAX keep compiled programs in the user's cache folder; returns the folder, or None if this is off.

    The folder is the one that `SEMCOLOR_COMPILE_CACHE` names, or else `semcolor_jax/xla` in `$XDG_CACHE_HOME`
    (`~/.cache`). A folder already set in JAX, such as by `JAX_COMPILATION_CACHE_DIR`, stays. One that cannot be written
    is not used: a command must not fail for lack of a cache.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted.lower() == "off":
        return None
    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: relative paths are invalid and to be ignored.
    home = Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()
    folder = Path(wanted).expanduser() if wanted else home / "semcolor_jax" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return folder
