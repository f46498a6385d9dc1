# The Sartorius notebook on semantic segmentation: residual blocks, additive attention gates, 32 to 512 filters, dropout
# of 0.5, Dice loss with squares in its denominator, Adam at 0.001, 4 images of 512 x 512 pixels, flips, 100 epochs at
# most; without progress of 0.01 (there of the held-out Dice loss, here of the Dice score) the rate falls to a hundredth
# after 5, and training ends after 15.
#
# Two differences. The notebook's gate adds up skip connection and gating signal, and then goes on with the skip
# connection alone: this is the gate of the Attention U-Net paper (Oktay et al., 2018), which has 174,080 weights more.
# And it divides its images by 255 twice.
_base_ = [
    "../_base_/models/unet.py",
    "../_base_/datasets/sartorius.py",
    "../_base_/parts/pixels.py",
    "../_base_/parts/one_class.py",
    "../_base_/schedules/schedule_plateau.py",
    "../_base_/default_runtime.py",
]

# Keras' default.
glorot = dict(type="Xavier", distribution="uniform", layer=["Conv2d", "ConvTranspose2d"])
model = dict(
    backbone=dict(
        _delete_=True,
        type="ResidualAttentionUNet",
        filters=(32, 64, 128, 256, 512),
        dropout=0.5,
        init_cfg=glorot,
    ),
    decoder=dict(in_channels=32, kernel=3, init_cfg=glorot),
    losses=dict(foreground=dict(_delete_=True, dice=dict(type="PixelDiceLoss", squared=True))),
)

resize = dict(type="Resize", scale=(512, 512), keep_ratio=False)
train_pipeline = [
    _base_.load_image,
    _base_.load_cells,
    resize,
    _base_.flip_both_ways,
    dict(_base_.pack_targets, code=_base_.code),
]
test_pipeline = [_base_.load_image, resize, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(
    batch_size=4,
    batch_sampler=None,  # all images come in one size
    dataset=dict(_base_.one_class_data, pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(_base_.one_class_data, pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False, base_batch_size=4)

progress = dict(monitor="cell/dice")
param_scheduler = [dict(_base_.plateau, **progress, factor=0.01, threshold=0.01)]
custom_hooks = [*_base_.custom_hooks, dict(_base_.early_stopping, **progress, min_delta=0.01)]

val_evaluator = dict(_base_.pixel_evaluator, **_base_.one_class_evaluator)
test_evaluator = val_evaluator
postprocess = _base_.pixel_postprocess
