_base_ = [
    "../_base_/models/pixel_lite0.py",
    "../_base_/datasets/sartorius.py",
    "../_base_/parts/pixels.py",
    "../_base_/parts/one_class.py",
    "../_base_/schedules/schedule_iterations.py",
    "../_base_/iteration_runtime.py",
]

# Cells of 17 pixels are seen as 25 pixels large; in training of 20 to 32.
enlarge = 1.5
train_pipeline = [
    _base_.load_image,
    _base_.load_cells,
    dict(
        type="RandomScaleCrop",
        crop_size_hw=(256, 256),
        scale_range=(0.8 * enlarge, 1.25 * enlarge),
    ),
    _base_.flip_both_ways,
    dict(type="RandomRotate90"),
    dict(_base_.pack_targets, code=_base_.code),
]
test_pipeline = [
    _base_.load_image,
    dict(type="Resize", scale_factor=enlarge),
    _base_.pack_image,
]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(
    **_base_.endless, dataset=dict(_base_.one_class_data, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(_base_.one_class_data, pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(paramwise_cfg=_base_.slow_backbone)

val_evaluator = dict(_base_.pixel_evaluator, **_base_.one_class_evaluator)
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
