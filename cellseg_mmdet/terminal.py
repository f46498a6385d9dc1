"""How command lines end: their exit code, and errors of the user's input in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cellseg_mmdet.errors import CellsegError


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool and exit with its code; what the user can mend is told in a line, without a traceback.

    That is a `CellsegError`, and an `OSError` with the file that it is about. Any other exception is a fault of the
    program, also a ValueError of a library.

    Args:
        main: the tool; None counts as success.
    """
    try:
        sys.exit(main())
    except (CellsegError, OSError) as error:
        message = told_in_a_line(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")
    except KeyboardInterrupt:
        sys.exit(130)


def told_in_a_line(error: BaseException) -> str | None:
    """Return what an error says to a user; None for one of the operating system that names no file.

    Example:
        >>> told_in_a_line(FileNotFoundError(2, "No such file or directory", "a.png"))
        'a.png: No such file or directory'
    """
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)  # ours, or a library's own sentence
    if error.filename is None:
        return None
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(files)}: {error.strerror}"
