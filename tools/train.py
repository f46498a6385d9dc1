#!/usr/bin/env python
"""`cellseg train`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
