# Mask R-CNN for a CPU and without pretrained weights: three stages of a ResNet-18 at half its width, narrow
# heads, one class. A training step on two 288-pixel crops takes half a second on 2 cores.
_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

channels = 64
# Strides 4 to 16: at stride 32 hardly a cell is left, 99% are smaller than 97 pixels.
strides = [4, 8, 16]
# Without pretrained weights heads learn much faster with a norm; GN, because it asks nothing of the batch.
norm_cfg = dict(type="GN", num_groups=16, requires_grad=True)
# Cells of up to 56 pixels are pooled from stride 4, twice as large ones from stride 8: with mmdet's 56 nearly
# all would come from stride 4, the large ones with many samples a bin.
roi_extractor = dict(out_channels=channels, featmap_strides=strides, finest_scale=28)

model = dict(
    data_preprocessor=dict(
        # Of the competition's images. ImageNet's deviation of 58 would leave a fifth of the contrast.
        mean=[128.0] * 3,
        std=[12.6] * 3,
    ),
    backbone=dict(
        depth=18,
        stem_channels=32,
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        frozen_stages=-1,
        norm_eval=False,  # nothing pretrained to protect
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128], out_channels=channels, num_outs=3, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        # Sides of 16 to 128 pixels.
        anchor_generator=dict(scales=[4, 4 * 2**0.5, 8], strides=strides),
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=1),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(
            type="RoIFCNMaskHead",  # pastes each mask in its box only
            num_convs=2,
            in_channels=channels,
            conv_out_channels=channels,
            norm_cfg=norm_cfg,
            num_classes=1,
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=300),
        # RoIAlign and the mask head are dear on a CPU: 32 masks an image at most.
        rcnn=dict(sampler=dict(num=64, pos_fraction=0.5)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=2000, max_per_img=2000),
        rcnn=dict(nms=dict(iou_threshold=0.4), max_per_img=1000),
    ),
)

# How the detections of several views become one set, for `--tta`.
tta_model = dict(type="CellTTAModel", iou_thr=0.55)
