"""Makes the C library's allocator return large freed blocks to the system, to use less memory."""

from __future__ import annotations

import ctypes
import os

LARGE = 4 * 2**20
"""Smallest large block in bytes: photos and a network's features are large, the arrays of a strip are not."""

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h


def return_large_blocks() -> bool:
    """Makes glibc return large blocks to the system as soon as they are freed; returns whether this worked.

    By default it soon keeps blocks of up to 32 MB for the thread that freed them, and the process grows by hundreds of
    MB. The setting applies to the whole process, so only programs should make it, not libraries. It is skipped if
    `MALLOC_MMAP_THRESHOLD_` is set, and with other C libraries.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no way to find it
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE))
