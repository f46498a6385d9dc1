#!/usr/bin/env python
"""Convert the 2018 Data Science Bowl (nuclei) to COCO or MMDetection annotations, with folds."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("dsb2018"))
