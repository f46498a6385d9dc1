import os
import platform
import subprocess
import sys

import pytest

# Prints how many pages were mapped while a block of 96 MiB was written and freed ten times.
COUNT_PAGES = """
import ctypes, resource, sys
from cellseg_mmdet.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def use():
    block = libc.malloc(96 << 20)
    ctypes.memset(block, 1, 96 << 20)
    libc.free(block)

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 10 * (96 << 20) // os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0

only_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is not glibc"
)


def pages(word, **environment):
    done = subprocess.run(
        [sys.executable, "-c", COUNT_PAGES, word],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | environment,
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@only_glibc
def test_freed_blocks_are_used_again():
    assert pages("keep")[0] == "True"
    assert pages("keep")[1] < PAGES / 10
    assert pages("as it is")[1] > PAGES / 2  # else there is nothing to mend


@only_glibc
@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_a_choice_of_the_user_stays(name):
    assert pages("keep", **{name: "131072"})[0] == "False"
