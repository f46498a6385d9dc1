#!/usr/bin/env python
"""`cellseg convert label-images`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "label-images", *sys.argv[1:]])
