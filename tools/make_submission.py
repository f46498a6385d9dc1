#!/usr/bin/env python
"""Turn a dump of raw predictions into a submission file, with the post-processing of its config."""

from __future__ import annotations

import argparse

from cellseg_mmdet.annotations.files import read_annotations
from cellseg_mmdet.export import FORMATS, write_submission
from cellseg_mmdet.postprocess.from_config import pipeline_from_config
from cellseg_mmdet.progress import progress_bar
from cellseg_mmdet.structures import from_records, load_predictions
from cellseg_mmdet.terminal import run_tool


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", metavar="PREDS", help="what tools/test.py --out wrote (.pkl)")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--config", help="config file; its `postprocess` list is applied")
    given.add_argument(
        "--ground-truth",
        action="store_true",
        help="PREDS is an annotation file: write its cells; what they share goes to the first",
    )
    parser.add_argument("--out", required=True, metavar="CSV", help="submission file to write")
    parser.add_argument(
        "--format", choices=FORMATS.names(), default="sartorius", help="default: %(default)s"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.ground_truth:
        predictions = from_records(read_annotations(args.source))
        finals = iter(progress_bar(predictions, description="writing"))
    else:
        pipeline = pipeline_from_config(args.config)
        if pipeline.adds_overlap_removal:
            print(
                f"{args.config}: postprocess may end with masks that overlap; RemoveOverlaps is applied last"
            )
        predictions = load_predictions(args.source)
        finals = map(pipeline, progress_bar(predictions, description="post-processing"))
    summary = write_submission(args.out, finals, args.format)
    if summary.num_pixels_removed:
        print(f"{summary.num_pixels_removed} shared pixels were left to one cell each")
    print(f"{args.out}: {args.format} submission, {summary}")


if __name__ == "__main__":
    run_tool(main)
