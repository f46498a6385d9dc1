"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes
import os

# malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MIB = 1 << 20
# The widest feature maps of 8 crops of 384 pixels in EfficientNet-Lite0 have 108 MiB.
REUSED_MIB = 256
KEPT_MIB = 512


def keep_freed_memory() -> bool:
    """Let this process use freed blocks of up to 256 MiB again, in place of giving each back to the system.

    glibc maps a block of more than 32 MiB anew each time, and the kernel clears its pages when they are first written:
    a fifth of the time of a training step on a CPU. Up to 512 MiB that are free at the end of the heap are kept, and
    what lies between blocks in use: it is for trainings, whose steps are all alike. Large pictures in tiles would take
    half as much memory again. Who sets ``MALLOC_MMAP_THRESHOLD_`` or ``MALLOC_TRIM_THRESHOLD_`` has chosen already.

    Returns:
        whether the C library does so; only glibc does.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys():
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - other libraries have a mallopt that does something else
        mallopt = libc.mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, REUSED_MIB * _MIB)
        and mallopt(_M_TRIM_THRESHOLD, KEPT_MIB * _MIB)
    )
