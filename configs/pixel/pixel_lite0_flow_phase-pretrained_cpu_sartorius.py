# Begun from the weights of the model `phase`, whose stem and strides 2 and 4 stay: an iteration takes half the time.
_base_ = "./pixel_lite0_flow_cpu_sartorius.py"

load_from = "shipped://phase"
model = dict(backbone=dict(frozen_stages=2, init_cfg=None))

# Pictures as `phase` sees them.
load_stretched = dict(
    type="LoadCellImage", intensity=dict(type="Percentiles", low=0.5, high=99.5, gray=True)
)
train_pipeline = [load_stretched, *_base_.train_pipeline[1:]]
test_pipeline = [load_stretched, *_base_.test_pipeline[1:]]
tta_pipeline = [load_stretched, *_base_.tta_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
