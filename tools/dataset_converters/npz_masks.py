#!/usr/bin/env python
"""`cellseg convert npz`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "npz", *sys.argv[1:]])
