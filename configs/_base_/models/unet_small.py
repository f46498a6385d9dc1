# A U-Net for a CPU and few images: the plain one's 16 to 256 filters with batch norm, foreground and the rim of cells,
# whose insides are the seeds of a watershed. 1,944,066 weights.
_base_ = "./unet.py"

model = dict(
    network=dict(
        batch_norm=True,
        init_cfg=dict(type="Kaiming", mode="fan_in", distribution="normal", layer="Conv2d"),
    ),
    losses=dict(
        foreground=dict(bce=dict(type="PixelBCELoss"), dice=dict(type="PixelDiceLoss")),
        boundary=dict(bce=dict(type="PixelBCELoss"), dice=dict(type="PixelDiceLoss")),
    ),
    test_cfg=dict(seed_thr=0.5, min_px=8),
)
