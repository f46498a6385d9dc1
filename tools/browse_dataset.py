#!/usr/bin/env python
"""`cellseg browse`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["browse", *sys.argv[1:]])
