# The layout that tools/dataset_converters/livecell.py writes beside the unpacked images.zip:
#   data/livecell/images/{livecell_train_val_images,livecell_test_images}/...
#   data/livecell/annotations/{train,val,test}.json
# The splits are those of the data set: there are no folds.
_base_ = "../parts/phase_contrast.py"

data_root = "data/livecell/"
test_split = "val"
test_splits = dict(
    val=dict(ann_file="annotations/val.json"),
    test=dict(ann_file="annotations/test.json"),
)
metainfo = dict(classes=("cell",), palette=[(86, 180, 233)])

livecell = dict(data_root=data_root, data_prefix=dict(img="images/"), metainfo=metainfo)
train_dataloader = dict(dataset=dict(livecell, ann_file="annotations/train.json"))
val_dataloader = dict(dataset=dict(livecell, **test_splits["val"]))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + test_splits["val"]["ann_file"])
test_evaluator = val_evaluator
