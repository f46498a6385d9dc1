# The layout that tools/dataset_converters/livecell.py writes beside the unpacked images.zip:
#   data/livecell/images/{livecell_train_val_images,livecell_test_images}/...
#   data/livecell/annotations/{train,val,test}.json
#
# The images are as large as those of Sartorius, and of the same kind of microscope: pipelines, loaders and
# post-processing are the same. The splits are those of the data set: CELLSEG_FOLD changes nothing.
# CELLSEG_SPLIT=test predicts and scores the test set.
_base_ = "./sartorius.py"

data_root = "{{$CELLSEG_DATA:data}}/livecell/"
metainfo = dict(classes=("cell",), palette=[(86, 180, 233)])
livecell = dict(data_root=data_root, data_prefix=dict(img="images/"), metainfo=metainfo)

train_dataloader = dict(dataset=dict(livecell, ann_file="annotations/train.json"))
val_dataloader = dict(dataset=dict(livecell, ann_file="annotations/val.json"))
test_dataloader = dict(dataset=dict(livecell, ann_file=f"annotations/{_base_.test_split}.json"))

val_evaluator = dict(ann_file=f"{data_root}annotations/val.json")
test_evaluator = dict(
    _delete_=True,  # for CELLSEG_SPLIT=test the base has an empty list
    type="CellMetric",
    ann_file=f"{data_root}annotations/{_base_.test_split}.json",
)
