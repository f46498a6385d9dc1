# What tools/dataset_converters/synthetic.py draws, converted: the layout and classes of Sartorius.
_base_ = "./sartorius.py"

data_root = "{{$CELLSEG_DATA:data}}/synthetic/"

train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=f"{data_root}annotations/val_fold{_base_.fold}.json")
test_evaluator = val_evaluator if _base_.test_split == "val" else []
