# A plain U-Net: foreground alone, whose connected parts are the cells. 1,941,105 weights.
code = dict(type="RimCode", rim_px=0)

model = dict(
    type="PixelDetector",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[0.0] * 3,
        std=[255.0] * 3,  # values in 0..1
        bgr_to_rgb=True,
    ),
    backbone=dict(type="UNet", filters=(16, 32, 64, 128, 256)),
    decoder=dict(type="PixelHead", in_channels=16),
    code=code,
    losses=dict(foreground=dict(bce=dict(type="PixelBCELoss"))),
)

# The maps of several views are averaged, and cells made of their mean, for `--tta`.
tta_model = dict(type="PixelTTAModel")
