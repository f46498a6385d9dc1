_base_ = [
    "../_base_/models/mask-rcnn_r18_fpn_small.py",
    "../_base_/datasets/synthetic.py",
    "../_base_/datasets/crops.py",
    "../_base_/schedules/schedule_scratch.py",
    "../_base_/default_runtime.py",
]

train_pipeline = _base_.crop_pipeline
test_pipeline = _base_.whole_image_pipeline

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
