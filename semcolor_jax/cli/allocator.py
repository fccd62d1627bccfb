"""Makes the C library's allocator return large freed blocks to the system."""

from __future__ import annotations

import ctypes
import os

LARGE = 4 * 2**20
"""Bytes from which on a block is large: photos and a network's features are, the arrays of a strip are not."""

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h


def return_large_blocks() -> bool:
    """Has glibc give large blocks back to the system as soon as they are freed; returns whether it does.

    By default it soon keeps blocks of up to 32 MB for the thread that freed them, and the process grows by hundreds of
    MB. The setting is the whole process's, so it is for programs to make, not for libraries. It is left alone where
    `MALLOC_MMAP_THRESHOLD_` is set, and with other C libraries.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such way to find it
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE))
