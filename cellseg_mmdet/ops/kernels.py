"""Compiled kernels: numba, without the interpreter's lock, kept on disk where the user may write."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core import event

# Sums may be reordered and fused, but NaN and infinity keep their meaning.
FAST = {"contract", "reassoc", "nsz", "arcp"}


def kernel(function: Callable[..., Any] | None = None, *, fast: bool = False) -> Any:
    """Compile ``function`` at its first call, and keep the machine code for the next process.

    Numba keeps it beside the source, or in the user's cache folder where that is read-only
    (``NUMBA_CACHE_DIR`` names another). Where neither can be written, it is compiled in each process.

    Args:
        fast: let sums be reordered and fused. NaN and infinity keep their meaning.

    Example:
        >>> @kernel
        ... def twice(values):
        ...     return 2 * values
        >>> twice(21)
        42
    """

    def compiled(plain: Callable[..., Any]) -> Any:
        # Division by zero is NaN or infinity, as in NumPy and C++, and no exception.
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "fastmath": FAST if fast else False,
        }
        try:
            return numba.njit(cache=True, **options)(plain)
        except RuntimeError:  # "no locator available": no folder for the cache can be written
            return numba.njit(**options)(plain)

    return compiled if function is None else compiled(function)


def is_kept(function: Any) -> bool:
    """Return whether machine code of a kernel was kept by an earlier process.

    It may still be compiled anew: for arguments of other types, or after its source has changed.

    Example:
        >>> is_kept(kernel(lambda value: 2 * value))
        False
    """
    folder, plain = function.stats.cache_path, function.py_func
    name = f"{plain.__module__.rpartition('.')[2]}.{plain.__qualname__}"
    return folder is not None and any(Path(folder).glob(f"{glob.escape(name)}-*.nbi"))


class _FirstCompilation(event.Listener):
    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def on_start(self, event: event.Event) -> None:
        act, self._act = self._act, lambda: None
        act()

    def on_end(self, event: event.Event) -> None:
        pass


@contextlib.contextmanager
def at_first_compilation(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` once if a kernel is compiled in the block, not if it was kept from an earlier process.

    Example:
        >>> double = numba.njit(lambda value: 2 * value)
        >>> with at_first_compilation(lambda: print("compiles")):
        ...     double(3), double(4), double(0.5)
        compiles
        (6, 8, 1.0)
    """
    with event.install_listener("numba:compile", _FirstCompilation(act)):
        yield
