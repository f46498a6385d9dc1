#!/usr/bin/env python
"""`cellseg report`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
