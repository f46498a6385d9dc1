#!/usr/bin/env python
"""Predict the test set of a config with a trained model; score and dump the predictions."""

from __future__ import annotations

import argparse

from cellseg_mmdet.engine.arguments import add_config_arguments, add_launcher_arguments, parse
from cellseg_mmdet.engine.commands import run_testing
from cellseg_mmdet.engine.data_choice import add_data_arguments
from cellseg_mmdet.terminal import run_tool


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, or the name of a shipped one")
    parser.add_argument("checkpoint", help="checkpoint file or URL")
    parser.add_argument("--out", metavar="PREDS.pkl", help="write the raw predictions to this file")
    parser.add_argument(
        "--soft-masks",
        action="store_true",
        help="keep the probabilities of each mask in that file, for ensemble.py; the log states the size",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: predict several views of each image and merge what is found",
    )
    parser.add_argument("--show", action="store_true", help="show each prediction in a window")
    parser.add_argument(
        "--show-dir", help="write painted images to this folder below WORK_DIR/TIMESTAMP"
    )
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds between two images shown (default: 2)"
    )
    add_data_arguments(parser, split=True)
    add_launcher_arguments(parser)
    add_config_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    run_testing(parse(build_parser(), argv))


if __name__ == "__main__":
    run_tool(main)
