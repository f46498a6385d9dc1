# The CPU config on what tools/dataset_converters/synthetic.py draws: the layout and classes of Sartorius.
_base_ = "./mask-rcnn_r18_fpn_cpu_sartorius.py"

data_root = "{{$CELLSEG_DATA:data}}/synthetic/"

# 42 epochs = 504 iterations * 2 images / 24 training images
max_epochs = 42
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_epochs, T_max=max_epochs)]

train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=f"{data_root}annotations/val_fold{_base_.fold}.json")
test_evaluator = val_evaluator if _base_.test_split == "val" else []
