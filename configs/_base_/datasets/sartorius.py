# The layout that cellseg convert sartorius writes:
#   data/sartorius/{train,test}/*.png
#   data/sartorius/annotations/{all,train_fold0..4,val_fold0..4}.json
_base_ = "../parts/phase_contrast.py"

data_root = "data/sartorius/"  # --data DIR makes it DIR/sartorius/
fold = 0  # --fold 1 makes fold0 fold1 in the names of all annotation files
test_split = "val"  # --split test has the images of test_splits["test"] predicted
test_splits = dict(
    val=dict(ann_file=f"annotations/val_fold{fold}.json", data_prefix=dict(img="train/")),
    test=dict(ann_file="", data_prefix=dict(img="test/")),  # not annotated: there is no score
)
metainfo = dict(
    classes=("astro", "cort", "shsy5y"),
    palette=[(0, 158, 115), (230, 159, 0), (86, 180, 233)],
)

cell_scale = dict(diameter_px=16.5)  # median of 15,862 cells: 15 (shsy5y), 16 (cort), 30 (astro)

sartorius = dict(data_root=data_root, data_prefix=dict(img="train/"), metainfo=metainfo)
train_dataloader = dict(dataset=dict(sartorius, ann_file=f"annotations/train_fold{fold}.json"))
val_dataloader = dict(dataset={**sartorius, **test_splits["val"]})
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + test_splits["val"]["ann_file"])
test_evaluator = val_evaluator
