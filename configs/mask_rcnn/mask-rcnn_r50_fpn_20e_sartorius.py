_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/sartorius.py",
    "../_base_/schedules/schedule_20e.py",
    "../_base_/default_runtime.py",
]

tta_pipeline = [*_base_.test_pipeline[:-1], _base_.views]
