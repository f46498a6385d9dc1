#!/usr/bin/env python
"""`cellseg convert mmdet-pickle`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "mmdet-pickle", *sys.argv[1:]])
