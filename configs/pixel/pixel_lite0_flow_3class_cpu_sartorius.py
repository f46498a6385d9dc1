# Three classes, the cell types: beside the flows a probability of each class in each pixel, learned in cells alone.
_base_ = "./pixel_lite0_flow_cpu_sartorius.py"

three_classes = dict(single_class=None, metainfo=_base_.metainfo)
model = dict(num_classes=3)

train_dataloader = dict(dataset=three_classes)
val_dataloader = dict(dataset=three_classes)
test_dataloader = val_dataloader

# coco_ap is that of each class, which the competition's mAP does not look at.
val_evaluator = dict(single_class=None, metric=[*_base_.pixel_evaluator["metric"], "coco_ap"])
test_evaluator = val_evaluator

# A culture is of one cell type: from here on, values per class are those of the image's type.
postprocess = [dict(type="VoteCellType"), *_base_.pixel_postprocess]
