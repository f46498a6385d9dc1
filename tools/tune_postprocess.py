#!/usr/bin/env python
"""`cellseg tune`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
