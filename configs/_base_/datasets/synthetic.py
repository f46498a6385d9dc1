# What tools/dataset_converters/synthetic.py draws and tools/dataset_converters/sartorius.py converts:
#   data/synthetic/{train,test}/*.png
#   data/synthetic/annotations/{all,train_fold0..4,val_fold0..4}.json
_base_ = "../parts/phase_contrast.py"

data_root = "data/synthetic/"
fold = 0
test_split = "val"
test_splits = dict(
    val=dict(ann_file=f"annotations/val_fold{fold}.json", data_prefix=dict(img="train/")),
    test=dict(ann_file="", data_prefix=dict(img="test/")),
)
metainfo = dict(
    classes=("astro", "cort", "shsy5y"),
    palette=[(0, 158, 115), (230, 159, 0), (86, 180, 233)],
)

synthetic = dict(data_root=data_root, data_prefix=dict(img="train/"), metainfo=metainfo)
train_dataloader = dict(dataset=dict(synthetic, ann_file=f"annotations/train_fold{fold}.json"))
val_dataloader = dict(dataset={**synthetic, **test_splits["val"]})
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + test_splits["val"]["ann_file"])
test_evaluator = val_evaluator
