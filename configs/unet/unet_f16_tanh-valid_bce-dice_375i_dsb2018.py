# The kernel of the 2018 Data Science Bowl: tanh, dropout of 0.1 to 0.3, He's initialisation, convolutions without
# padding, 0.5 * cross-entropy + Dice, SGD at Keras' 0.01, 32 images of 256 x 256 pixels, flips, rotation, shift and
# zoom, 25 steps an epoch.
#
# As it was published it cannot be built: skip connections are larger than what they are joined to. They are cropped, as
# in the U-Net paper, so 256 x 256 pixels give 68 x 68. Here images are mirrored at their border first, so that all
# pixels are learned and predicted. Mirrored is also what rotation brings into view, where Keras repeats border pixels.
_base_ = "./unet_f16_bce_30e_dsb2018.py"

he = [
    dict(type="Kaiming", mode="fan_in", distribution="normal", layer="Conv2d"),
    dict(type="Xavier", distribution="uniform", layer="ConvTranspose2d"),
]
model = dict(
    backbone=dict(
        activation="tanh",
        dropout=(0.1, 0.1, 0.2, 0.2, 0.3),
        padding="valid",
        init_cfg=he,
    ),
    decoder=dict(init_cfg=he[0]),
    losses=dict(
        foreground=dict(
            bce=dict(type="PixelBCELoss", loss_weight=0.5),
            dice=dict(type="PixelDiceLoss"),
        )
    ),
)

train_pipeline = [
    _base_.load_image,
    _base_.load_cells,
    _base_.resize,
    dict(
        type="RandomReflectedAffine",
        angle_range_deg=(-90, 90),
        scale_range=(0.9, 1.1),
        shift_range=(-0.1, 0.1),
    ),
    _base_.flip_both_ways,
    _base_.pack_targets,
]
train_dataloader = dict(
    batch_size=32,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
auto_scale_lr = dict(base_batch_size=32)

# 15 epochs of 25 steps; the kernel leaves their number open, and had 15 before.
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=15 * 25, val_interval=25)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=0.01))
custom_hooks = _base_.custom_hooks[:-1]  # it does not stop early
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=25))
log_processor = dict(by_epoch=False)
