"""How command lines end: their exit code, and errors of the user's input in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run_tool(main: Callable[[], int | None], *expected: type[BaseException]) -> None:
    """Run a tool and exit with its code; errors of the user's input are told in a line, without a traceback.

    Args:
        main: the tool; None counts as success.
        expected: errors whose message is all that is needed, besides `ValueError` and `OSError`.
    """
    told_in_a_line: tuple[type[BaseException], ...] = (ValueError, OSError, *expected)
    try:
        sys.exit(main())
    except told_in_a_line as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
