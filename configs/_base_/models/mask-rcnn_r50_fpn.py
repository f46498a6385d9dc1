# mmdet's Mask R-CNN with the seed notebook's numbers where they are not mmdet's.
_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=3),
        mask_head=dict(type="RoIFCNMaskHead", num_classes=3),  # pastes each mask in its box only
    ),
    test_cfg=dict(rcnn=dict(max_per_img=200)),
)

# How the detections of several views become one set, for `--tta`.
tta_model = dict(type="CellTTAModel", iou_thr=0.55)
