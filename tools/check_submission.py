#!/usr/bin/env python
"""`cellseg check`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["check", *sys.argv[1:]])
