# The CPU config of Sartorius on what tools/dataset_converters/synthetic.py draws.
_base_ = [
    "../_base_/models/mask-rcnn_r18_fpn_small.py",
    "../_base_/datasets/synthetic.py",
    "../_base_/parts/crops.py",
    "../_base_/parts/one_class.py",
    "../_base_/schedules/schedule_scratch.py",
    "../_base_/default_runtime.py",
]

# 42 epochs = 504 iterations * 2 images / 24 training images
max_epochs = 42
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_epochs, T_max=max_epochs)]

train_pipeline = [
    _base_.load_image,
    _base_.load_cells,
    _base_.enlarged_crop,
    _base_.flip_both_ways,
    _base_.pack_cells,
]
test_pipeline = [_base_.load_image, _base_.enlarged, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(dataset=dict(_base_.one_class_data, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(_base_.one_class_data, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = _base_.one_class_evaluator
test_evaluator = val_evaluator
