import platform
import subprocess
import sys

import pytest

from semcolor_jax.cli.allocator import LARGE, return_large_blocks

# Frees 16 blocks that are large for us and not for glibc, which keeps them behind one small block.
PROGRAM = """
import ctypes, sys
from semcolor_jax.cli.allocator import LARGE, return_large_blocks
if sys.argv[1] == "on":
    assert return_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(31 * 2**20))  # glibc's threshold rises to this
blocks = [libc.malloc(LARGE + 1) for _ in range(16)]
for block in blocks:
    ctypes.memset(block, 1, LARGE)
last = libc.malloc(2**16)
for block in blocks:
    libc.free(block)
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * 4096)
"""


def resident(setting):
    result = subprocess.run([sys.executable, "-c", PROGRAM, setting], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_large_blocks_go_back_to_the_system(monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    assert resident("off") - resident("on") > 12 * LARGE


def test_the_users_own_setting_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1000000")
    assert return_large_blocks() is False


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert return_large_blocks() is False
