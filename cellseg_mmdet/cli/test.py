"""Predict the test set of a config with a trained model; score and dump the predictions.

The dump (--out) holds raw predictions: evaluate, report, tune, ensemble and submit read it.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.cli.arguments import (
    add_config_arguments,
    add_data_arguments,
    add_launcher_arguments,
    add_model_arguments,
    add_tta_argument,
    join_launcher,
)

EXAMPLES = """\
  cellseg test my_config.py runs/first/epoch_20.pth --out val.pkl
  cellseg test my_config.py runs/first/epoch_20.pth --split test --tta --out test.pkl
On several GPUs or machines: tools/dist_test.sh, tools/slurm_test.sh.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model_arguments(parser)
    parser.add_argument("--out", metavar="PREDS.pkl", help="write the raw predictions to this file")
    parser.add_argument(
        "--soft-masks",
        action="store_true",
        help="keep the probabilities of each mask in that file, for `cellseg ensemble`; the log states the size",
    )
    parser.add_argument(
        "--maps",
        action="store_true",
        help="keep the maps of a pixel model in that file, in half precision, so that `cellseg tune` can search for "
        "the thresholds of its code too; 2 MB for a picture of 520 x 704 pixels and flows",
    )
    add_tta_argument(parser)
    parser.add_argument("--show", action="store_true", help="show each prediction in a window")
    parser.add_argument(
        "--show-dir",
        metavar="DIR",
        help="write painted images to this folder below WORK_DIR/TIMESTAMP",
    )
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds between two images shown (default: 2)"
    )
    add_data_arguments(parser, split=True)
    add_launcher_arguments(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Predict and score."""
    join_launcher(args)
    from cellseg_mmdet.engine.commands import run_testing

    run_testing(args)
