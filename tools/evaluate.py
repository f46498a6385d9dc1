#!/usr/bin/env python
"""Score predictions against annotations, over all and per cell type.

PREDS is a dump of raw predictions (.pkl), scored after the post-processing of its config; or a csv file
of final cells, such as a submission.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.evaluation.files import evaluate_files
from cellseg_mmdet.evaluation.report import check_suffix
from cellseg_mmdet.terminal import run_tool


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "predictions", metavar="PREDS", help="what tools/test.py --out wrote; or a csv file"
    )
    parser.add_argument(
        "--ann",
        required=True,
        metavar="FILE",
        help="COCO json, MMDetection pickle, a train.csv or a submission",
    )
    parser.add_argument(
        "--config", help="config of a dump: post-processing and class names; a csv file needs none"
    )
    parser.add_argument(
        "--no-postprocess", action="store_true", help="score the predictions of a dump as they are"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="images whose sizes two submissions need, as neither says them",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="report to write: .json (all), .csv (the table)"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.out:
        check_suffix(args.out)
    report = evaluate_files(
        args.predictions,
        args.ann,
        config=args.config,
        postprocess=not args.no_postprocess,
        images_dir=args.images,
    )
    print(report.as_table())
    if args.out:
        report.write(args.out)
        print(f"{args.out}: report of {report.about['images']} images")


if __name__ == "__main__":
    run_tool(main)
