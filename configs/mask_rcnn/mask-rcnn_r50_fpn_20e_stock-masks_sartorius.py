_base_ = ["./mask-rcnn_r50_fpn_20e_sartorius.py", "../_base_/parts/stock_masks.py"]

train_pipeline = [
    _base_.stock_load_annotations if step["type"] == "LoadRoIAnnotations" else step
    for step in _base_.train_pipeline
]

model = dict(roi_head=_base_.stock_roi_head)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
