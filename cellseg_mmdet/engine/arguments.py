"""Arguments that the command lines on models share, named as mmdet names them."""

from __future__ import annotations

import argparse
import os

from mmengine.config import DictAction

from cellseg_mmdet.engine.distributed import LAUNCHERS


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` and ``--trust-checkpoint``."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config, e.g. optim_wrapper.optimizer.lr=0.01; "
        'a list is written key="[(a,b),(c,d)]", quoted and without spaces',
    )
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="allow checkpoints to run code while they are loaded: if you trust who made them",
    )


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--work-dir``, ``--launcher`` and ``--local_rank``."""
    parser.add_argument(
        "--work-dir", help="folder of logs and checkpoints (default: work_dirs/CONFIG_NAME)"
    )
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="none",
        help="what started the processes of this job",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def parse(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> argparse.Namespace:
    """Parse a command line and put the local rank where mmengine looks for it.

    Older launchers give it by argument, torchrun in the environment.
    """
    args = parser.parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args
