_base_ = [
    "../_base_/models/mask-rcnn_r18_fpn_small.py",
    "../_base_/datasets/dsb2018.py",
    "../_base_/schedules/schedule_scratch.py",
    "../_base_/default_runtime.py",
]

# 42 epochs = 1,008 iterations * 2 images / 48 training images of the sample
max_epochs = 42
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_epochs, T_max=max_epochs)]

# of the 60 images of the sample, gray and stretched
model = dict(data_preprocessor=dict(mean=[30.0] * 3, std=[45.0] * 3))

train_pipeline = [
    dict(step, crop_size_hw=(288, 288), scale_range=(1.0, 2.2))
    if step["type"] == "RandomScaleCrop"
    else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
