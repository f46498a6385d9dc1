# The blog on nuclei: 64 to 1024 filters with batch norm, binary cross-entropy, Adam at 0.0001, 4 images of 512 x 512
# pixels, shear (of half a degree: Keras' unit), rotation, zoom and shift with reflection, 10 epochs. It does not show
# how pixels are scaled: here to 0..1, as in the other texts.
_base_ = "./unet_f16_bce_30e_dsb2018.py"

model = dict(
    backbone=dict(filters=(64, 128, 256, 512, 1024), batch_norm=True),
    decoder=dict(in_channels=64),
)

resize = dict(type="Resize", scale=(512, 512), keep_ratio=False)
train_pipeline = [
    _base_.load_image,
    _base_.load_cells,
    resize,
    dict(
        type="RandomReflectedAffine",
        angle_range_deg=(-50, 50),
        shear_range_deg=(-0.5, 0.5),
        scale_range=(0.8, 1.2),
        shift_range=(-0.2, 0.2),
    ),
    _base_.pack_targets,
]
test_pipeline = [_base_.load_image, resize, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=4)

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.0001))
custom_hooks = _base_.custom_hooks[:-1]  # it does not stop early
