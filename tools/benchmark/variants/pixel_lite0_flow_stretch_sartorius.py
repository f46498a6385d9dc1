# Contrast stretched and gray, as the model `phase` sees it, where the base takes pictures of 8 bits as they are.
_base_ = "cellseg_mmdet::pixel/pixel_lite0_flow_cpu_sartorius.py"

load_stretched = dict(
    type="LoadCellImage", intensity=dict(type="Percentiles", low=0.5, high=99.5, gray=True)
)
train_pipeline = [load_stretched, *_base_.train_pipeline[1:]]
test_pipeline = [load_stretched, *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
