from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Write a config that can be read, but not built."""
    path = tmp_path / "small.py"
    path.write_text(
        "default_scope = 'mmdet'\n"
        "postprocess = [dict(type='ScoreThreshold', score_thr=0.3)]\n"
        "train_dataloader = dict(batch_size=2)\n"
        "val_evaluator = dict(type='CellMetric')\n"
        "test_evaluator = [dict(type='CellMetric'), dict(type='CocoMetric')]\n"
        "model = dict(type='MaskRCNN', backbone=dict(norm_cfg=dict(type='SyncBN')))\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))\n"
        "default_hooks = dict(visualization=dict(type='DetVisualizationHook'))\n"
    )
    return path
