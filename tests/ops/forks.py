"""Work in a forked process, as the workers of a data loader are."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest


def in_a_fork(work: Callable[[], bool]) -> bool:
    """Return whether ``work`` returns True in a forked child, within a minute; skips where there is no fork."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that waits for ever
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
