#!/usr/bin/env python
"""`cellseg test`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["test", *sys.argv[1:]])
