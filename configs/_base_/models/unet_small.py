# A U-Net for a CPU and few images: the plain one's 16 to 256 filters with batch norm, foreground and the rim of cells,
# whose insides are the seeds of a watershed. 1,944,066 weights.
_base_ = "./unet.py"

code = dict(rim_px=2, min_px=8)

he = dict(type="Kaiming", mode="fan_in", distribution="normal", layer="Conv2d")
model = dict(
    backbone=dict(batch_norm=True, init_cfg=he),
    decoder=dict(init_cfg=he),
    code=code,
    losses=dict(
        foreground=dict(bce=dict(type="PixelBCELoss"), dice=dict(type="PixelDiceLoss")),
        rim=dict(bce=dict(type="PixelBCELoss"), dice=dict(type="PixelDiceLoss")),
    ),
)
