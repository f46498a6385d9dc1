_base_ = [
    "../_base_/models/unet_small.py",
    "../_base_/datasets/dsb2018.py",
    "../_base_/parts/pixels.py",
    "../_base_/schedules/schedule_scratch.py",
    "../_base_/default_runtime.py",
]

# The schedule's 40 epochs are 960 iterations of 2 of the sample's 48 training images.
train_pipeline = [
    _base_.load_alike,
    _base_.load_cells,
    # No image is smaller than 256 = 224 / 0.875 pixels.
    dict(type="RandomScaleCrop", crop_size_hw=(224, 224), scale_range=(0.875, 1.25), min_area_px=1),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomRotate90"),
    dict(type="ElasticDeformation", alpha_px=3.0, sigma_px=12.0, min_area_px=1),
    dict(type="RandomPhotometry", brightness=(-20, 20), contrast=(0.7, 1.3), gamma=(0.7, 1.4)),
    dict(_base_.pack_targets, code=_base_.code, border=dict(w0=10.0, sigma_px=5.0)),
]
test_pipeline = [_base_.load_alike, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(
    batch_sampler=None,  # all images come in one size
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = _base_.pixel_evaluator
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
