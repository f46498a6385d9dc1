"""How command lines end: their exit code, and errors of the user's input in one line."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from cellseg_mmdet.errors import CellsegError, shortened

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_tool(main: Callable[[], int | None], *, error_status: int = 1) -> NoReturn:
    """Run a command and exit with its code; what the user can mend is told in a line, without a traceback.

    That is a `CellsegError`, and an `OSError` with the file that it is about. Any other exception is a fault of the
    program, also a ValueError of a library.

    Args:
        main: the command; None counts as success.
        error_status: exit code after an error that is told in a line.
    """
    # Names of files need not be text, nor the terminal one for UTF-8: what cannot be printed is written as an escape.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this process, as services do
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    try:
        status = main()
        sys.stdout.flush()
        sys.exit(status)
    except BrokenPipeError:  # who read standard output, such as `head`, has gone
        # What is left in the buffer would raise the same once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (CellsegError, OSError) as error:
        message = told_in_a_line(error)
        if message is None and isinstance(error, OSError) and error.errno in _NO_ROOM:
            # All files are named where they are written; left is what is printed.
            message = f"standard output: {error.strerror}"
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if message is None:
            raise
        if error_status == 1:
            sys.exit(f"error: {message}")
        print(f"error: {message}", file=sys.stderr)
        sys.exit(error_status)
    except KeyboardInterrupt:
        sys.exit(130)


def told_in_a_line(error: BaseException) -> str | None:
    """Return what an error says to a user; None for one of the operating system that names no file.

    Example:
        >>> told_in_a_line(FileNotFoundError(2, "No such file or directory", "a.png"))
        'a.png: No such file or directory'
    """
    if not isinstance(error, OSError) or error.errno is None:
        return shortened(str(error))  # ours, or a library's own sentence
    if error.filename is None:
        return None
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return shortened(f"{' -> '.join(files)}: {error.strerror}")
