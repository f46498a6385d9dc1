# The report on nuclei that is written in Chinese: 16 to 256 filters, ReLU, binary cross-entropy, Adam at its 0.001,
# 256 x 256 pixels, 16 images, 30 epochs at most, end after 5 without progress (there of the held-out loss).
_base_ = [
    "../_base_/models/unet.py",
    "../_base_/datasets/dsb2018.py",
    "../_base_/parts/pixels.py",
    "../_base_/schedules/schedule_plateau.py",
    "../_base_/default_runtime.py",
]

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = []
early_stopping = dict(patience=5, min_delta=0.0)
custom_hooks = [*_base_.custom_hooks, dict(_base_.early_stopping, **early_stopping)]

# Keras' default.
glorot = dict(type="Xavier", distribution="uniform", layer=["Conv2d", "ConvTranspose2d"])
model = dict(backbone=dict(init_cfg=glorot), decoder=dict(init_cfg=glorot))

resize = dict(type="Resize", scale=(256, 256), keep_ratio=False)
pack_targets = dict(_base_.pack_targets, code=_base_.code)
train_pipeline = [_base_.load_image, _base_.load_cells, resize, pack_targets]
test_pipeline = [_base_.load_image, resize, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(
    batch_size=16,
    batch_sampler=None,  # all images come in one size
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False, base_batch_size=16)

val_evaluator = _base_.pixel_evaluator
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
