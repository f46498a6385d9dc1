_base_ = ["./mask-rcnn_r50_fpn_20e_sartorius.py", "../_base_/parts/one_class.py"]

model = dict(roi_head=_base_.one_class_roi_head)
train_dataloader = dict(dataset=_base_.one_class_data)
val_dataloader = dict(dataset=_base_.one_class_data)
test_dataloader = val_dataloader

val_evaluator = _base_.one_class_evaluator
test_evaluator = val_evaluator
