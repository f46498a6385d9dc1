"""Fuse predictions of several models into one dump, which every later command reads like any other.

PREDS are dumps of raw predictions (`cellseg test --out`), or what other tools found: COCO results, a submission, a
folder of label images; cells without scores have the score 1.

Instances are matched class by class. Where all dumps have soft masks (`cellseg test --soft-masks`), those of
matched instances are averaged; else their masks vote. A dump holds labels but no names of classes: that the models
are of the same classes, in the same order, cannot be seen from it; --config makes sure of their number at least.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

from cellseg_mmdet.cli.arguments import add_on_error_argument
from cellseg_mmdet.cli.evaluate import PREDICTIONS_HELP
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.fusion.fuse import FusionOptions, Method
from cellseg_mmdet.fusion.matching import Overlap

_SUFFIXES = (".pkl", ".pickle")
EXAMPLES = """\
  cellseg ensemble first.pkl second.pkl --weights 2 1 --config my_config.py --out fused.pkl
  cellseg ensemble fold0.pkl fold1.pkl fold2.pkl --union --out all.pkl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    defaults = FusionOptions()
    parser.add_argument("dumps", nargs="+", metavar="PREDS", help=PREDICTIONS_HELP)
    parser.add_argument("--out", required=True, metavar="PKL", help="fused dump to write")
    parser.add_argument(
        "--weights", nargs="+", type=float, metavar="W", help="one of each dump; default: all 1"
    )
    parser.add_argument(
        "--method",
        choices=get_args(Method),
        default=defaults.method,
        help="wbf, weighted boxes fusion: matched instances become their mean, scores count the "
        "dumps without a match; nms: the best one stays; soft-nms: the others stay with lower "
        "scores, by a Gaussian of their overlap or linear in it; default: %(default)s",
    )
    parser.add_argument(
        "--iou-thr",
        type=float,
        default=defaults.iou_thr,
        help="overlap that makes a match; soft-nms has none; default: %(default)s",
    )
    parser.add_argument(
        "--overlap",
        choices=get_args(Overlap),
        default=defaults.overlap,
        help="what overlap is measured on; default: %(default)s",
    )
    parser.add_argument(
        "--sigma",
        type=float,
        default=defaults.sigma,
        help="of soft-nms: the greater, the less a score falls; default: %(default)s",
    )
    parser.add_argument(
        "--mask-thr",
        type=float,
        default=defaults.mask_thr,
        help="least averaged probability of a mask's pixels; default: %(default)s",
    )
    parser.add_argument(
        "--union",
        action="store_true",
        help="dumps of different images, such as those held out from different folds: each image "
        "is fused from the dumps that hold it",
    )
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config of the models: labels are checked for its classes",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="images whose sizes a submission needs, as it does not say them",
    )
    add_on_error_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Fuse and write."""
    from cellseg_mmdet.evaluation.files import options_from_config, sizes_in
    from cellseg_mmdet.evaluation.sources import read_predictions
    from cellseg_mmdet.fusion.dumps import fuse_dumps

    if Path(args.out).suffix not in _SUFFIXES:
        raise UsageError(f"--out {args.out}: the name of a dump ends with {' or '.join(_SUFFIXES)}")
    summary = fuse_dumps(
        args.dumps,
        args.out,
        weights=args.weights,
        options=FusionOptions(
            args.method, args.iou_thr, args.overlap, sigma=args.sigma, mask_thr=args.mask_thr
        ),
        union=args.union,
        classes=options_from_config(args.config).classes if args.config else None,
        read=partial(read_predictions, sizes_hw=sizes_in(args.images), on_error=args.on_error),
    )
    if summary.without_soft_masks:
        print(f"masks were fused by vote: no soft masks in {', '.join(summary.without_soft_masks)}")
    print(f"{args.out}: {summary}")
