#!/usr/bin/env python
"""Convert label images (TIFF, PNG; 0 is background, every cell has a number) to COCO or MMDetection annotations."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("label-images"))
