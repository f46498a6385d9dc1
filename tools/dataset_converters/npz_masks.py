#!/usr/bin/env python
"""Convert label maps in .npz files to COCO or MMDetection annotations."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("npz"))
