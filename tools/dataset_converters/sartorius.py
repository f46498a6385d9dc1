#!/usr/bin/env python
"""`cellseg convert sartorius`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "sartorius", *sys.argv[1:]])
