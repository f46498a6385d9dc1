"""Draw losses and metrics of one or several trainings into one picture.

A panel for each quantity, a colour for each training. Trainings that were resumed are drawn as one.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.cli.arguments import positive

EXAMPLES = """\
  cellseg curves runs/first runs/second --out curves.svg
  cellseg curves runs/first --keys lr 'loss*' 'cell/*' --smooth 20
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("work_dirs", nargs="+", metavar="WORK_DIR", help="folder of a training")
    parser.add_argument(
        "--out",
        default="curves.png",
        metavar="FILE",
        help=".png, .svg or .pdf (default: %(default)s)",
    )
    parser.add_argument(
        "--keys",
        nargs="+",
        default=[],
        metavar="KEY",
        help="what to draw, such as lr, 'loss*' or 'cell/*' (default: all losses and metrics)",
    )
    parser.add_argument(
        "--smooth",
        type=positive,
        default=1,
        metavar="N",
        help="draw means of N logged values, and the values thin (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Draw the picture."""
    from cellseg_mmdet.visualization.charts.curves import (
        name_runs,
        plot_curves,
        read_curves,
        select_keys,
    )

    curves = map(read_curves, args.work_dirs)
    runs = dict(zip(name_runs(args.work_dirs), curves, strict=True))
    keys = select_keys(runs, args.keys)
    plot_curves(args.out, runs, keys, smoothing=args.smooth)
    print(f"{args.out}: {len(keys)} quantities of {len(runs)} trainings")
