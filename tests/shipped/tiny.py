"""A model that ships, so small that a test can make it: two stages of a backbone and random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS

from cellseg_mmdet.engine import load_config

CONFIG = """\
_base_ = "cellseg_mmdet::pixel/pixel_lite0_flow_cpu_dsb2018.py"
cell_scale = dict(diameter_px=25.0)
model = dict(
    backbone=dict(out_indices=(0, 1)),
    decoder=dict(in_channels=[16, 24], strides=[2, 4], width=[8, 8]),
)
"""
FACTS: dict[str, Any] = {
    "summary": "Nuclei of a test.",
    "licence": "Apache-2.0",
    "trained_on": [
        {
            "name": "Nothing",
            "url": "https://example.org",
            "licence": "MIT",
            "notice": "MIT License\n\nCopyright (c) nobody",
            "what": "no images",
            "groups": "None.",
        }
    ],
    "training": {
        "command": "cellseg train tiny.py",
        "config": "tiny.py",
        "seed": 0,
        "iterations": 7,
    },
    "fails": ["Everywhere."],
}


def write_tiny(folder: Path, **content: Any) -> tuple[Path, Path, Path]:
    """Write config, checkpoint and facts; ``content`` is put into the checkpoint, or its ``meta``."""
    config, checkpoint, facts = folder / "tiny.py", folder / "tiny.pth", folder / "facts.json"
    config.write_text(CONFIG)
    facts.write_text(json.dumps(FACTS))
    torch.manual_seed(0)
    model = MODELS.build(load_config(config).model)
    meta = {"dataset_meta": {"classes": ("nucleus",)}, **content.pop("meta", {})}
    torch.save({"state_dict": model.state_dict(), "meta": meta, **content}, checkpoint)
    return config, checkpoint, facts
