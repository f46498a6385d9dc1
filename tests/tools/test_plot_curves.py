from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import pytest

from cellseg_mmdet.errors import UsageError

TOOL = Path(__file__).parents[2] / "tools/plot_curves.py"


@pytest.mark.slow
def test_log_of_a_real_training(tiny_run, checkpoint: Path, tmp_path: Path, capsys) -> None:
    plot = tmp_path / "plots" / "curves.png"
    main = runpy.run_path(str(TOOL))["main"]
    main([str(checkpoint.parent), "--out", str(plot), "--smooth", "2"])
    # RPN, box and mask losses with their sum, and AP of boxes and masks: mmdet's own names.
    assert "quantities of 1 trainings" in capsys.readouterr().out
    everything = cv2.imread(str(plot))
    main([str(checkpoint.parent), "--out", str(plot), "--keys", "coco/segm_mAP", "loss"])
    assert cv2.imread(str(plot)).shape[0] < everything.shape[0]
    with pytest.raises(
        UsageError, match=r"no curve is named 'dice'; there are .*loss_mask.*coco/segm_mAP"
    ):
        main([str(checkpoint.parent), "--keys", "dice"])
