# The layout of the 2018 Data Science Bowl, and of what tools/dataset_converters/dsb2018.py writes:
#   data/dsb2018/{stage1_train,stage1_test}/<id>/images/<id>.png
#   data/dsb2018/annotations/{all,train_fold0..4,val_fold0..4}.json
#   data/dsb2018/annotations/stage1_test/all.json       with --root stage1_test --solution stage1_solution.csv
#
# Loaders and split are those of Sartorius: CELLSEG_DATA, CELLSEG_FOLD and CELLSEG_SPLIT say which part a run uses.
# CELLSEG_SPLIT=test predicts and scores stage1_test with its solution.
_base_ = "./sartorius.py"

data_root = "{{$CELLSEG_DATA:data}}/dsb2018/"
metainfo = dict(classes=("nucleus",), palette=[(86, 180, 233)])

load_alike = dict(
    type="LoadCellImage",
    intensity=dict(
        type="Percentiles",
        low=1.0,
        high=99.8,  # exposures differ by a factor of ten
        gray=True,
        polarity="auto",  # stained and bright-field images, one in five, look like fluorescence then
    ),
)
load_image = dict(
    _delete_=True, type="LoadCellImage"
)  # for networks that see the images as they are
train_pipeline = [
    load_alike,
    dict(type="LoadRoIAnnotations", with_bbox=True, with_mask=True),
    # Median sizes are 12 to 48 pixels, by the source of an image: all are seen about twice as large.
    dict(type="RandomScaleCrop", crop_size_hw=(512, 512), scale_range=(1.4, 2.8)),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
# No annotations: the metric reads them from its own file.
test_pipeline = [
    load_alike,
    dict(type="Resize", scale_factor=2.0),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "cell_type"),
    ),
]

nuclei = dict(data_root=data_root, data_prefix=dict(img="stage1_train/"), metainfo=metainfo)
val_file = f"annotations/val_fold{_base_.fold}.json"
test_files = dict(
    val=dict(ann_file=val_file),
    test=dict(ann_file="annotations/stage1_test/all.json", data_prefix=dict(img="stage1_test/")),
)[_base_.test_split]

train_dataloader = dict(dataset=dict(nuclei, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(nuclei, ann_file=val_file, pipeline=test_pipeline))
test_dataloader = dict(dataset={**nuclei, "pipeline": test_pipeline, **test_files})

val_evaluator = dict(
    ann_file=f"{data_root}{val_file}"
)  # the competition's mAP, in all and for each modality
test_evaluator = dict(
    _delete_=True,  # for CELLSEG_SPLIT=test the base has an empty list
    type="CellMetric",
    ann_file=data_root + test_files["ann_file"],
)

# From raw predictions to the nuclei that are scored and submitted, no two of which share a pixel.
postprocess = [
    dict(type="ScoreThreshold", score_thr=0.5),
    dict(type="MaskNMS", overlap_thr=0.6, measure="ios"),
    dict(type="FillHoles"),
    dict(type="RemoveOverlaps", min_kept_fraction=0.6, give_to="smaller"),
    dict(type="LargestComponent"),
    dict(type="MinArea", min_area_px=20),  # the smallest annotated nucleus of 2,839 has 21 pixels
]
