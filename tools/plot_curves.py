#!/usr/bin/env python
"""Draw losses and metrics of one or several trainings into one picture.

A panel for each quantity, a colour for each training. Trainings that were resumed are drawn as one.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.terminal import run_tool
from cellseg_mmdet.visualization.charts.curves import (
    name_runs,
    plot_curves,
    read_curves,
    select_keys,
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work_dirs", nargs="+", metavar="WORK_DIR", help="folder of a training")
    parser.add_argument(
        "--out", default="curves.png", help=".png, .svg or .pdf (default: %(default)s)"
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
        type=_positive,
        default=1,
        metavar="N",
        help="draw means of N logged values, and the values thin (default: %(default)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    curves = map(read_curves, args.work_dirs)
    runs = dict(zip(name_runs(args.work_dirs), curves, strict=True))
    keys = select_keys(runs, args.keys)
    plot_curves(args.out, runs, keys, smoothing=args.smooth)
    print(f"{args.out}: {len(keys)} quantities of {len(runs)} trainings")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value


if __name__ == "__main__":
    run_tool(main)
