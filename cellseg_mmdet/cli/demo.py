"""Do the whole main job on synthetic data, from images to a checked submission, in minutes.

Results go to work_dirs/demo/ in the current folder. Every step is a command that works for real data as well, and is
shown before it runs. The exit status is 1 if a step fails, or if the model scores too low on held-out images.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
  cellseg demo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    import signal

    from cellseg_mmdet.demo import exit_on_signal, run_demo

    signal.signal(signal.SIGTERM, exit_on_signal)
    return run_demo()
