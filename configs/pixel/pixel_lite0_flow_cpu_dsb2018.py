_base_ = [
    "../_base_/models/pixel_lite0.py",
    "../_base_/datasets/dsb2018.py",
    "../_base_/parts/pixels.py",
    "../_base_/schedules/schedule_iterations.py",
    "../_base_/iteration_runtime.py",
]

# The best on a fold of the training, after 60 core-minutes (docs/cpu-models.md).
thresholds = dict(mask_thr=0.4, flow_thr=0.8)
model = dict(code=thresholds)

# Median sizes are 12 to 48 pixels, by the source of an image.
train_pipeline = [
    _base_.load_alike,
    _base_.load_cells,
    dict(type="RandomScaleCrop", crop_size_hw=(256, 256), scale_range=(0.7, 1.5), min_area_px=1),
    _base_.flip_both_ways,
    dict(type="RandomRotate90"),
    dict(type="RandomPhotometry", brightness=(-20, 20), contrast=(0.7, 1.3), gamma=(0.7, 1.4)),
    dict(_base_.pack_targets, code=dict(_base_.code, **thresholds)),
]
test_pipeline = [_base_.load_alike, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(**_base_.endless, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(paramwise_cfg=_base_.slow_backbone)

val_evaluator = _base_.pixel_evaluator
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
