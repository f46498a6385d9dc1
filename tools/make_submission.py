#!/usr/bin/env python
"""`cellseg submit`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["submit", *sys.argv[1:]])
