"""The tiny training of tests/tools, with transforms that draw random numbers, for a Mask R-CNN and a U-Net."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.conftest import TinyRun, checkpoint, tiny_run  # noqa: F401

# Names are those of the file that both inherit from.
MASK_RCNN = """\
_base_ = "{folder}/tiny.py"
custom_imports = dict(
    imports=[
        "cellseg_mmdet.datasets", "cellseg_mmdet.engine", "cellseg_mmdet.models", "step_losses"
    ],
    allow_failed_imports=False,
)
# Random numbers of numpy (ours), and of the model's samplers (torch).
train_pipeline = [
    _base_.load[0],
    dict(type="LoadRoIAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomRotate90"),
    dict(type="RandomPhotometry"),
    _base_.resize,
    dict(type="RandomFlip", prob=0.5),
    _base_.pack,
]
train_dataloader = dict(
    num_workers=2,
    persistent_workers=True,
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(pipeline=train_pipeline),
)
train_cfg = dict(max_epochs=3, val_interval=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=6),
    dict(type="MultiStepLR", by_epoch=True, milestones=[1, 2]),
]
default_hooks = dict(
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="WholeCheckpointHook", by_epoch=False, interval=1),
)
custom_hooks = [
    dict(type="StepLosses"),
    dict(type="ReproducibleTraining"),
    dict(type="WholeCheckpointHook", by_epoch=True, interval=1),
]
val_evaluator = test_evaluator = dict(_base_.val_evaluator, metric="segm")
randomness = dict(seed=None)
"""

UNET = """\
_base_ = "{folder}/drawn.py"
default_hooks = dict(checkpoint=dict(interval=5))
custom_hooks = _base_.custom_hooks[:2]
model = dict(
    _delete_=True,
    type="PixelDetector",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[100.0] * 3, std=[50.0] * 3, pad_size_divisor=16
    ),
    backbone=dict(type="UNet", filters=(4, 8, 8), batch_norm=True),
    decoder=dict(type="PixelHead", in_channels=4),
    code=dict(type="RimCode", rim_px=0),
    losses=dict(foreground=dict(bce=dict(type="PixelBCELoss"))),
)
train_pipeline = [*_base_.train_pipeline[:-1], dict(type="PackPixelTargets", code=dict(type="RimCode", rim_px=0))]
train_dataloader = dict(
    batch_sampler=None,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=14, val_interval=5)
param_scheduler = [dict(type="PolyLR", by_epoch=False, power=0.9, begin=0, end=14)]
log_processor = dict(by_epoch=False)
"""

STEP_LOSSES = '''\
"""Writes the loss of each iteration to the work dir, to the last bit."""

import json
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.hooks import Hook


@HOOKS.register_module()
class StepLosses(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        line = {"iter": runner.iter + 1, "loss": float(outputs["loss"]).hex()}
        line["images"] = [sample.img_id for sample in data_batch["data_samples"]]
        with (Path(runner.work_dir) / "losses.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\\n")
'''


@pytest.fixture(scope="session")
def random_run(tiny_run: TinyRun) -> TinyRun:  # noqa: F811
    """Write ``drawn.py`` (Mask R-CNN, epochs) and ``drawn_unet.py`` (U-Net, iterations) beside ``tiny.py``."""
    folder = tiny_run.folder
    for name, text in (("drawn", MASK_RCNN), ("drawn_unet", UNET)):
        (folder / f"{name}.py").write_text(text.replace("{folder}", str(folder)))
    (folder / "step_losses.py").write_text(STEP_LOSSES)
    return tiny_run


def config_of(run: TinyRun, kind: str) -> Path:
    return run.folder / {"mask_rcnn": "drawn.py", "unet": "drawn_unet.py"}[kind]
