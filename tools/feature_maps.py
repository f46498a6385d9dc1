#!/usr/bin/env python
"""`cellseg feature-maps`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["feature-maps", *sys.argv[1:]])
