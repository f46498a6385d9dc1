#!/usr/bin/env python
"""Do the whole main job on synthetic data, in work_dirs/demo/: from images to a checked submission, in minutes.

Every step is a command that works for real data as well, and is shown before it runs. The exit status is 1 if a step
fails, or if the model scores too low on held-out images.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from cellseg_mmdet.demo import exit_on_signal, run_demo
from cellseg_mmdet.terminal import run_tool


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    signal.signal(signal.SIGTERM, exit_on_signal)
    os.chdir(Path(__file__).resolve().parents[1])
    return run_demo()


if __name__ == "__main__":
    run_tool(main)
