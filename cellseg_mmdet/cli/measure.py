"""Measure cells: a table with a row for each, and summaries of images and groups of images.

PREDS is what `cellseg evaluate` reads: a dump of raw predictions (.pkl), COCO results, annotations, a csv file, or a
folder of label images. IMAGES are the pictures that the cells are in, found by their names; without them shapes
alone are measured. Every column is defined in docs/measurements.md. Cells have the numbers that other results have,
and overlapping ones are each measured on all their pixels.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

from cellseg_mmdet.annotations.faults import OnError
from cellseg_mmdet.cli.arguments import (
    add_pixel_size_argument,
    pixel_size_from,
    telling_of_compilation,
)
from cellseg_mmdet.cli.evaluate import PREDICTIONS_HELP
from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.images import add_plane_arguments, selection_from
from cellseg_mmdet.measure import NAMES

EXAMPLES = """\
  cellseg measure results/predictions.json images/ --out cells.csv
  cellseg measure cellpose_masks images/ --out cells.parquet --pixel-size 0.325
  cellseg measure val.pkl images/ --config my_config.py --out cells.csv --names cellprofiler
  cellseg measure masks images/ --out cells.csv --group plate[0-9]+ --summary images.csv --page report
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("predictions", metavar="PREDS", help=PREDICTIONS_HELP)
    parser.add_argument("images", nargs="*", metavar="IMAGES", help="images, and folders of images")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="table to write: .csv or .parquet"
    )
    parser.add_argument(
        "--names",
        choices=NAMES.names(),
        default="cellseg",
        help="what columns are called (default: cellseg)",
    )
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help="columns taken from the path of each image, such as '(?P<plate>p[0-9]+)_(?P<well>[A-H][0-9]+)'",
    )
    parser.add_argument(
        "--summary",
        metavar="FILE",
        help="csv to write with a row for each image and class: counts, density, confluence, medians; with --group "
        "FILE_groups.csv as well, a row for each group",
    )
    parser.add_argument("--page", metavar="DIR", help="folder for index.html: the summaries, drawn")
    add_pixel_size_argument(parser, "")
    parser.add_argument(
        "--neighbours",
        type=_pixels,
        default=5.0,
        metavar="PX",
        help="cells up to this distance are neighbours (default: 5)",
    )
    parser.add_argument(
        "--ring",
        nargs=2,
        type=_whole_pixels,
        default=(2, 5),
        metavar=("GAP", "WIDTH"),
        help="background of a cell: pixels of no cell, farther than GAP and no farther than GAP + WIDTH (default: 2 5)",
    )
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config of a dump: post-processing and class names; final cells need none",
    )
    parser.add_argument(
        "--no-postprocess",
        action="store_true",
        help="measure the predictions of a dump as they are",
    )
    parser.add_argument("--recursive", action="store_true", help="search sub-folders as well")
    parser.add_argument(
        "--on-error",
        choices=get_args(OnError),
        default="stop",
        help="skip: leave out annotations and COCO results that cannot be used, and say how many (default: stop)",
    )
    add_plane_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Measure, and write the table and what else is asked for."""
    from cellseg_mmdet.evaluation.measuring import read_measuring_task
    from cellseg_mmdet.measure import MeasureOptions, Ring, TableFile, check_table_path
    from cellseg_mmdet.measure.summary import Summary, write_summary
    from cellseg_mmdet.visualization.pages.measurements import write_measurement_page

    check_table_path(args.out)
    if args.summary and Path(args.summary).suffix.lower() != ".csv":
        raise UsageError(f"{args.summary}: the name of a summary ends with .csv")
    size = pixel_size_from(args)
    of_groups = None
    if args.summary and args.group is not None:
        path = Path(args.summary)
        of_groups = path.with_name(f"{path.stem}_groups.csv")
    _check_apart(args.out, args.summary, of_groups)
    task = read_measuring_task(
        args.predictions,
        args.images,
        config=args.config,
        postprocess=not args.no_postprocess,
        group=args.group,
        recursive=args.recursive,
        selection=selection_from(args),
        options=MeasureOptions(size, args.neighbours, Ring(*args.ring)),
        on_error=args.on_error,
    )
    summary = Summary(task.classes or ()) if args.summary or args.page else None
    with telling_of_compilation(), TableFile(args.out, args.names) as file:
        for found, table in task.measured():
            file.add(table)
            if summary is not None:
                summary.add(found, table)
    count, images = file.num_cells, len(task.predictions)
    print(
        f"{args.out}: {count:,} cell{'s' * (count != 1)} of {images:,} image{'s' * (images != 1)}"
    )
    if summary is not None and args.summary:
        write_summary(args.summary, summary.of_images())
        print(f"{args.summary}: summary of each image")
        if of_groups is not None:
            write_summary(of_groups, summary.of_groups())
            print(f"{of_groups}: summary of each group")
    if summary is not None and args.page:
        page = write_measurement_page(summary, args.page, source=args.predictions)
        print(f"{page}: charts of sizes and counts")


def _check_apart(*paths: str | Path | None) -> None:
    """Raise UsageError where one file would be written in the place of another."""
    given = [os.path.realpath(path) for path in paths if path is not None]
    twice = [path for path in given if given.count(path) > 1]
    if twice:
        raise UsageError(
            f"{twice[0]}: the table, the summary and that of groups would be one file; give them other names"
        )


def _pixels(text: str) -> float:
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be pixels, from 0 on")
    return value


def _whole_pixels(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: must be whole pixels, from 0 on")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
