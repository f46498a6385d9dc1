#!/usr/bin/env python
"""Convert LIVECell to COCO or MMDetection annotations of one class, 'cell': train, val and test as given."""

from __future__ import annotations

import argparse

from cellseg_mmdet.converters.convert import add_shared_arguments, convert_livecell
from cellseg_mmdet.terminal import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for split in ("train", "val", "test"):
        parser.add_argument(
            f"--{split}",
            nargs="+",
            metavar="JSON",
            help=f"livecell_coco_{split}.json, or several files of single cell lines",
        )
    parser.add_argument("--images", required=True, help="folder of the images, with sub-folders")
    parser.add_argument("--out-dir", required=True, help="folder for train, val and test")
    parser.add_argument("--format", choices=("coco", "mmdet"), default="coco", help="default: coco")
    add_shared_arguments(parser)
    convert_livecell(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
