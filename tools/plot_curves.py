#!/usr/bin/env python
"""`cellseg curves`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["curves", *sys.argv[1:]])
