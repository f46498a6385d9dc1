#!/usr/bin/env python
"""Convert the Sartorius competition's train.csv to COCO or MMDetection annotations, with folds."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("sartorius"))
