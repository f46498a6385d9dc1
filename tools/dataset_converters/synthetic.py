#!/usr/bin/env python
"""`cellseg convert synthetic`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "synthetic", *sys.argv[1:]])
