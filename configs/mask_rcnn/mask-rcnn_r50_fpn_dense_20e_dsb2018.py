_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/dsb2018.py",
    "../_base_/parts/one_class.py",
    "../_base_/parts/dense_cells.py",
    "../_base_/schedules/schedule_20e.py",
    "../_base_/default_runtime.py",
]

# Anchors from 16 pixels and room for 1,000 nuclei: at twice its size an image holds nuclei of 10 (1%) to 140.
model = dict(_base_.dense_cells, roi_head=_base_.one_class_roi_head)
