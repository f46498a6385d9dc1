"""What the command line gives to `cellseg train` and `cellseg test`."""

from __future__ import annotations

import argparse
from pathlib import Path


def train_arguments(config: Path, **changes: object) -> argparse.Namespace:
    defaults = {"amp": False, "auto_scale_lr": False, "resume": None}
    return arguments(config, **(defaults | changes))


def eval_arguments(config: Path, **changes: object) -> argparse.Namespace:
    defaults = {
        "out": None,
        "soft_masks": False,
        "maps": False,
        "tta": False,
        "show": False,
        "show_dir": None,
        "wait_time": 2,
    }
    return arguments(config, **(defaults | changes))


def arguments(config: Path, **changes: object) -> argparse.Namespace:
    defaults = {
        "config": str(config),
        "work_dir": str(config.parent / "run"),
        "cfg_options": None,
        "launcher": "none",
        "trust_checkpoint": False,
    }
    return argparse.Namespace(**(defaults | changes))
