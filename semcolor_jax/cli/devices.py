"""Checks JAX's devices: refuses a platform that is missing and warns of an unused NVIDIA GPU."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

NVIDIA_DEVICE = Path("/dev/nvidia0")


def check_devices() -> None:
    """Refuses a `JAX_PLATFORMS` that is missing, and warns of an NVIDIA GPU that JAX does not use.

    JAX is imported only if one of the two is possible.

    Raises:
      UserError: `JAX_PLATFORMS` names a device that JAX does not find.
    """
    wanted = os.environ.get("JAX_PLATFORMS", "")
    if wanted == "cpu" or not (wanted or _gpu_present()):
        return
    from semcolor_jax.backend import platform

    try:
        found = platform()
    except (RuntimeError, AssertionError) as error:  # an assertion if the platform is known but has no device
        raise UserError(
            f"JAX_PLATFORMS is {wanted!r}, but JAX finds no such device: unset it, or install JAX's build for the "
            "device (NVIDIA: `make setup CUDA=1` or pip install 'semcolor-jax[cuda]')."
        ) from error
    if found == "cpu" and not wanted:
        logger.warning(
            "An NVIDIA GPU is present, but JAX runs on the CPU: install JAX's CUDA build with `make setup CUDA=1` or "
            "pip install 'semcolor-jax[cuda]' (JAX_PLATFORMS=cpu silences this)."
        )


def _gpu_present() -> bool:
    if NVIDIA_DEVICE.exists():
        return True
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        return subprocess.run([program, "-L"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
