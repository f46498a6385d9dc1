#!/usr/bin/env python
"""`cellseg convert livecell`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["convert", "livecell", *sys.argv[1:]])
