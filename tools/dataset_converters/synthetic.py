#!/usr/bin/env python
"""Write synthetic phase-contrast images with masks in the Sartorius competition's layout."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("synthetic"))
