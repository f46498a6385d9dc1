"""Score predictions against annotations, over all and per cell type.

PREDS is a dump of raw predictions (.pkl), scored after the post-processing of its config; or final cells: COCO
results (predictions.json beside its images.json), annotations, a csv file such as a submission, or a folder of
label images (PNG, TIFF, .npy). What they are compared with may be of any of these kinds as well.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.cli.arguments import add_on_error_argument

EXAMPLES = """\
  cellseg evaluate val.pkl --ann data/sartorius/annotations/val_fold0.json --config my_config.py
  cellseg evaluate submission.csv --ann train.csv --out scores.json
  cellseg evaluate results/predictions.json --ann data/sartorius/annotations/val_fold0.json
  cellseg evaluate cellpose_masks --ann true_masks
"""
PREDICTIONS_HELP = "what `cellseg test --out` wrote; COCO results, annotations, a csv file, a folder of label images"
ANNOTATIONS_HELP = (
    "COCO json, MMDetection pickle, a train.csv or a submission, a folder of label images"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("predictions", metavar="PREDS", help=PREDICTIONS_HELP)
    parser.add_argument("--ann", required=True, metavar="FILE", help=ANNOTATIONS_HELP)
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config of a dump: post-processing and class names; final cells need none",
    )
    parser.add_argument(
        "--no-postprocess", action="store_true", help="score the predictions of a dump as they are"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="images whose sizes two submissions need, as neither says them",
    )
    add_on_error_argument(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="report to write: .json (all), .csv (the table)"
    )


def run(args: argparse.Namespace) -> None:
    """Print the table, write the report."""
    from cellseg_mmdet.evaluation.files import evaluate_files
    from cellseg_mmdet.evaluation.report import check_suffix

    if args.out:
        check_suffix(args.out)
    report = evaluate_files(
        args.predictions,
        args.ann,
        config=args.config,
        postprocess=not args.no_postprocess,
        images_dir=args.images,
        on_error=args.on_error,
    )
    print(report.as_table())
    if args.out:
        report.write(args.out)
        print(f"{args.out}: report of {report.about['images']} images")
