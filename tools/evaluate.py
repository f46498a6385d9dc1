#!/usr/bin/env python
"""`cellseg evaluate`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
