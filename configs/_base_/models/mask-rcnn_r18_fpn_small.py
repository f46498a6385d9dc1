# Mask R-CNN for a CPU and without pretrained weights: ResNet-18 and heads a quarter as wide.
_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

channels = 64

model = dict(
    data_preprocessor=dict(
        # Of the competition's images. ImageNet's deviation of 58 would leave a fifth of the contrast.
        mean=[128.0] * 3,
        std=[12.6] * 3,
    ),
    backbone=dict(
        depth=18,
        frozen_stages=-1,
        norm_eval=False,  # nothing pretrained to protect
        init_cfg=None,
    ),
    # Strides 4 to 32: at stride 64 no cell is left, 99% are smaller than 97 pixels.
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels, num_outs=4),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[4, 4 * 2**0.5], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=3),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(
            num_convs=2, in_channels=channels, conv_out_channels=channels, num_classes=3
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=1000, max_per_img=500),
        # Masks are the dearest part of a step: 64 of them an image.
        rcnn=dict(sampler=dict(num=256)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=2000, max_per_img=2000),
        rcnn=dict(max_per_img=1000),
    ),
)
