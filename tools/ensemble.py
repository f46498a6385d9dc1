#!/usr/bin/env python
"""`cellseg ensemble`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["ensemble", *sys.argv[1:]])
