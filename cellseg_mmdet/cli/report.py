"""Write a report on a run: one HTML page with scores, errors, worst and best images, sizes, calibration, measurements.

PREDS is a dump of raw predictions (.pkl), shown after the post-processing of its config; or final cells of any kind
that `cellseg evaluate` reads: COCO results, annotations, a csv file, a folder of label images. The page
holds all that it shows and needs no network.
"""

from __future__ import annotations

import argparse
from typing import get_args

from cellseg_mmdet.cli.arguments import add_on_error_argument
from cellseg_mmdet.cli.evaluate import ANNOTATIONS_HELP, PREDICTIONS_HELP
from cellseg_mmdet.visualization.draw.contrast import VIEWS
from cellseg_mmdet.visualization.pages.comparison import Cells

EXAMPLES = """\
  cellseg report val.pkl --ann data/sartorius/annotations/val_fold0.json --config my_config.py --out report
  cellseg report results/labels --ann val.json --images images --out report --group '(?P<plate>p[0-9]+)_'
  cellseg report submission.csv --ann train.csv --images train --out report --pictures
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("predictions", metavar="PREDS", help=PREDICTIONS_HELP)
    parser.add_argument("--ann", required=True, metavar="FILE", help=ANNOTATIONS_HELP)
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config that the predictions are of; final cells need none",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for index.html")
    parser.add_argument(
        "--images", metavar="DIR", help="the images; default: where the config's data sets are"
    )
    parser.add_argument(
        "--num-images",
        type=int,
        default=6,
        help="how many of the worst and of the best images are shown (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="write image, truth, prediction and errors of these images to pictures/ too",
    )
    parser.add_argument("--view", choices=VIEWS, default="image", help="contrast of the pictures")
    parser.add_argument(
        "--cells",
        choices=get_args(Cells),
        default="filled",
        help="how the pictures show cells: filled, or contours alone, by OpenCV's findContours or Canny",
    )
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help="groups of images in the section on measurements, taken from the name of each image as by `cellseg "
        "measure` (default: by cell type, where the annotations say it)",
    )
    add_on_error_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Write the page, and the pictures if asked for."""
    from cellseg_mmdet.visualization.pages.run_data import read_run
    from cellseg_mmdet.visualization.pages.run_report import write_pictures, write_report

    run = read_run(
        args.predictions,
        args.ann,
        args.config,
        images_dir=args.images,
        on_error=args.on_error,
        group=args.group,
    )
    page = write_report(run, args.out, num_images=args.num_images)
    print(f"{page}: report on {len(run.studies)} images, {page.stat().st_size / 1e6:.1f} MB")
    if args.pictures:
        folder = write_pictures(
            run, args.out, num_images=args.num_images, view=args.view, cells=args.cells
        )
        print(
            f"{folder}: image, truth, prediction and errors, a picture for each image of the page"
        )
