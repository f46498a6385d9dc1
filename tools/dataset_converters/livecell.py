#!/usr/bin/env python
"""Convert LIVECell to COCO or MMDetection annotations of one class, 'cell': train, val and test as given."""

from cellseg_mmdet.converters.convert import main
from cellseg_mmdet.terminal import run_tool

if __name__ == "__main__":
    run_tool(lambda: main("livecell"))
