"""Other programs: started in a clean environment, watched, and stopped with us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .layout import Layout, SetupError

HEARTBEAT_SECONDS = 15
STRAYS = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


def say(text: str) -> None:
    """Print a line at once, in order with the output of child processes."""
    print(text, flush=True)


def environment(**changes: str) -> dict[str, str]:
    """Return the environment for ``.venv``'s Python, without what leads it or pip elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in STRAYS}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **changes}


def run(command: list, **options) -> subprocess.CompletedProcess:
    """Run a command to its end, in ``environment()`` unless told otherwise."""
    # close_fds=False hands the lock down: it holds as long as a child outlives a killed set-up.
    options = {"env": environment(), "close_fds": False, **options}
    return subprocess.run([str(part) for part in command], **options)


def output_of(command: list, **options) -> str:
    """Return what a command prints, stripped; raises SetupError where it fails."""
    result = run(command, stdout=subprocess.PIPE, universal_newlines=True, **options)
    if result.returncode:
        raise SetupError(f"{command[0]} failed (exit status {result.returncode}); see above.")
    return result.stdout.strip()


def pip(layout: Layout, *arguments: str | Path) -> None:
    """Run ``.venv``'s pip; raises SetupError where it fails."""
    if run([layout.python, "-m", "pip", *arguments], cwd=layout.root).returncode:
        raise SetupError(
            "pip failed, its message is above. Mend that (network, index, disk) and run the same "
            "command again: it goes on where it stopped."
        )


def run_logged(command: list, log: Path, heartbeat: Callable[[], str], **options) -> int:
    """Run a long command with its output in ``log``; say ``heartbeat()`` from time to time.

    Returns the exit status. An exception, Ctrl-C among them, stops the command and its children.
    """
    start = time.monotonic()
    with log.open("wb") as file:
        # A session of its own, so that the compilers below pip and ninja can be stopped as a group.
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            close_fds=False,
            start_new_session=True,
            **options,
        )
        try:
            while True:
                try:
                    return process.wait(HEARTBEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    minutes, seconds = divmod(int(time.monotonic() - start), 60)
                    say(f"  {minutes}:{seconds:02d}  {heartbeat()}")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()


@contextlib.contextmanager
def lock(layout: Layout) -> Iterator[None]:
    """Hold the right to change ``.venv``; wait for another set-up of this checkout."""
    import fcntl  # not at the top: Windows, which lacks it, is to be told so by the checks

    layout.build.mkdir(exist_ok=True)
    with (layout.build / "setup.lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work in this folder: waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let a hang-up or a request to terminate end the block as Ctrl-C does: with its clean-up."""
    before = {
        number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
