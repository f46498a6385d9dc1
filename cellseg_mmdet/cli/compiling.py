"""Word of the kernels that a command compiles at its first run after an installation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def telling_of_compilation() -> Iterator[None]:
    """Say on standard error, once, that kernels are compiled in the block; nothing where they are there already."""
    # Numba is imported here, so that commands without kernels start without it.
    from cellseg_mmdet.ops.kernels import at_first_compilation
    from cellseg_mmdet.progress import note

    text = "compiling kernels, once after an installation: up to half a minute"
    with at_first_compilation(lambda: note(text)):
        yield
