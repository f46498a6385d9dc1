#!/usr/bin/env python
"""Train the model of a config."""

from __future__ import annotations

import argparse

from cellseg_mmdet.engine.arguments import add_config_arguments, add_launcher_arguments, parse
from cellseg_mmdet.engine.commands import run_training
from cellseg_mmdet.engine.data_choice import add_data_arguments
from cellseg_mmdet.terminal import run_tool


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, or the name of a shipped one")
    parser.add_argument(
        "--amp", action="store_true", help="train with automatic mixed precision (needs a GPU)"
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the batch size of all processes",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="continue from this checkpoint; without a value, from the newest one in the work dir",
    )
    add_data_arguments(parser)
    add_launcher_arguments(parser)
    add_config_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    run_training(parse(build_parser(), argv))


if __name__ == "__main__":
    run_tool(main)
