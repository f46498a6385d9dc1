# Pictures twice as large, in place of 1.5 times: cells of 17 pixels are seen as 34 pixels large. And photometry.
_base_ = "./pixel_lite0_flow_photometry_sartorius.py"

enlarge = 2.0
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(_base_.train_pipeline[2], scale_range=(0.75 * enlarge, 1.33 * enlarge)),
    *_base_.train_pipeline[3:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale_factor=enlarge),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
