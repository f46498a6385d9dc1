#!/usr/bin/env python
"""`cellseg demo`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
