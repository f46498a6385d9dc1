"""Say what is installed and whether it works; the exit status is 1 where something is wrong."""

from __future__ import annotations

import argparse

EXAMPLES = """\
  cellseg doctor
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    from cellseg_mmdet.doctor import main

    return main()
