"""Compiled kernels: numba, without the interpreter's lock, kept on disk where the user may write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

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
