_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/livecell.py",
    "../_base_/parts/one_class.py",
    "../_base_/parts/dense_cells.py",
    "../_base_/schedules/schedule_20e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    _base_.dense_cells,
    roi_head=_base_.one_class_roi_head,
    # Images hold up to about 3,000 cells.
    test_cfg=dict(rpn=dict(nms_pre=8000, max_per_img=7000), rcnn=dict(max_per_img=3500)),
)

tta_pipeline = [*_base_.test_pipeline[:-1], _base_.views]
