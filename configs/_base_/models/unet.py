# A plain U-Net: foreground alone, whose connected parts are the cells. 1,941,105 weights.
model = dict(
    type="UNetInstance",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[0.0] * 3,
        std=[255.0] * 3,  # values in 0..1
        bgr_to_rgb=True,
    ),
    network=dict(type="UNet", filters=(16, 32, 64, 128, 256)),
    losses=dict(foreground=dict(bce=dict(type="PixelBCELoss"))),
    test_cfg=dict(mask_thr=0.5, seed_thr=0.5, min_px=1),
)

# The maps of several views are averaged, and cells made of their mean, for `--tta`.
tta_model = dict(type="UNetTTAModel")
