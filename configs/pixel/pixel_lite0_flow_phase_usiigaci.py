# The model `phase` that ships: adherent cells in phase contrast. Each picture is seen about as large as makes its cells
# 40 pixels wide, and --diameter brings pictures to that size; one GPU.
_base_ = [
    "../_base_/models/pixel_lite0.py",
    "../_base_/datasets/usiigaci.py",
    "../_base_/parts/pixels.py",
    "../_base_/schedules/schedule_iterations.py",
    "../_base_/iteration_runtime.py",
]

diameter_px = 40.0
cell_scale = dict(diameter_px=diameter_px)

train_pipeline = [
    _base_.load_stretched,
    _base_.load_cells,
    dict(
        type="RandomScaleCrop",
        crop_size_hw=(384, 384),
        diameter_px=diameter_px,
        scale_range=(0.5, 2.0),
        min_area_px=1,
    ),
    _base_.flip_both_ways,
    dict(type="RandomRotate90"),
    dict(type="Invert", prob=0.1),
    dict(
        type="RandomPhotometry",
        brightness=(-25, 25),
        contrast=(0.6, 1.4),
        gamma=(0.7, 1.4),
        gradient=(0.0, 0.3),
        blur_px=(0.0, 1.5),
        noise=(0.0, 10.0),
    ),
    dict(_base_.pack_targets, code=_base_.code),
]
test_pipeline = [_base_.load_stretched, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

max_iters = 3300
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_iters, T_max=max_iters)]

train_dataloader = dict(**_base_.endless, num_workers=5, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(paramwise_cfg=_base_.slow_backbone)

val_evaluator = _base_.pixel_evaluator
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
