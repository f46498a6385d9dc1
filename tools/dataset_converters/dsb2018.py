#!/usr/bin/env python
"""`cellseg convert dsb2018`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "dsb2018", *sys.argv[1:]])
