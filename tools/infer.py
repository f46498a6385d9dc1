#!/usr/bin/env python
"""`cellseg infer`."""

import sys

from cellseg_mmdet.cli import main

if __name__ == "__main__":
    main(["infer", *sys.argv[1:]])
