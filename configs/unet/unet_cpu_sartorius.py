_base_ = [
    "../_base_/models/unet_small.py",
    "../_base_/datasets/sartorius.py",
    "../_base_/parts/pixels.py",
    "../_base_/parts/crops.py",
    "../_base_/parts/one_class.py",
    "../_base_/schedules/schedule_scratch.py",
    "../_base_/default_runtime.py",
]

# 12 epochs = 576 iterations * 2 images / 96 training images of a part of 120
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_epochs, T_max=max_epochs)]

model = dict(data_preprocessor=dict(mean=[128.0] * 3, std=[12.6] * 3))

train_pipeline = [
    _base_.load_image,
    _base_.load_cells,
    _base_.enlarged_crop,
    _base_.flip_both_ways,
    dict(_base_.pack_targets, code=_base_.code, border=dict(w0=10.0, sigma_px=5.0)),
]
test_pipeline = [_base_.load_image, _base_.enlarged, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(
    batch_sampler=None,  # all images come in one size
    dataset=dict(_base_.one_class_data, pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(_base_.one_class_data, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(_base_.pixel_evaluator, **_base_.one_class_evaluator)
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
