#!/usr/bin/env python
"""Convert between annotation layouts: mmdet 2.x lists (--from-v2), MMDetection 3.x pickles and COCO json."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("mmdet-pickle"))
