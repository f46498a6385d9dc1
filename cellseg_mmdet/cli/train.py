"""Train the model of a config.

Checkpoints, the whole config and logs are written to --work-dir. The same command with --resume goes on where a
training was interrupted, and starts it where there is none.
"""

from __future__ import annotations

import argparse

from cellseg_mmdet.allocator import keep_freed_memory
from cellseg_mmdet.cli.arguments import (
    CONFIG_HELP,
    add_config_arguments,
    add_data_arguments,
    add_launcher_arguments,
    join_launcher,
)

EXAMPLES = """\
  cellseg train mask-rcnn_r50_fpn_20e_sartorius --data data --fold 0
  cellseg train my_config.py --work-dir runs/first --resume
  cellseg train my_config.py --amp --cfg-options optim_wrapper.optimizer.lr=0.01
On several GPUs or machines: tools/dist_train.sh, tools/slurm_train.sh.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
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


def run(args: argparse.Namespace) -> None:
    """Train."""
    keep_freed_memory()
    join_launcher(args)
    from cellseg_mmdet.engine.commands import run_training

    run_training(args)
