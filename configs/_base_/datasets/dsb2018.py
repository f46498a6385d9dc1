# The layout of the 2018 Data Science Bowl, and of what cellseg convert dsb2018 writes:
#   data/dsb2018/{stage1_train,stage1_test}/<id>/images/<id>.png
#   data/dsb2018/annotations/{all,train_fold0..4,val_fold0..4}.json
#   data/dsb2018/annotations/stage1_test/all.json       with --root stage1_test --solution stage1_solution.csv
_base_ = "../parts/cell_data.py"

data_root = "data/dsb2018/"
fold = 0
test_split = "val"
test_splits = dict(
    val=dict(ann_file=f"annotations/val_fold{fold}.json", data_prefix=dict(img="stage1_train/")),
    test=dict(ann_file="annotations/stage1_test/all.json", data_prefix=dict(img="stage1_test/")),
)
metainfo = dict(classes=("nucleus",), palette=[(86, 180, 233)])

cell_scale = dict(diameter_px=22.3)  # median of the 2,839 nuclei of the sample

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
train_pipeline = [
    load_alike,
    _base_.load_cells,
    # Median sizes are 12 to 48 pixels, by the source of an image: all are seen about twice as large.
    dict(type="RandomScaleCrop", crop_size_hw=(512, 512), scale_range=(1.4, 2.8)),
    _base_.flip_both_ways,
    _base_.pack_cells,
]
test_pipeline = [load_alike, dict(type="Resize", scale_factor=2.0), _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

nuclei = dict(data_root=data_root, data_prefix=dict(img="stage1_train/"), metainfo=metainfo)
train_dataloader = dict(
    dataset=dict(nuclei, ann_file=f"annotations/train_fold{fold}.json", pipeline=train_pipeline)
)
val_dataloader = dict(dataset={**nuclei, **test_splits["val"], "pipeline": test_pipeline})
test_dataloader = val_dataloader

# The competition's mAP is given in all and for each modality.
val_evaluator = dict(ann_file=data_root + test_splits["val"]["ann_file"])
test_evaluator = val_evaluator

# From raw predictions to the nuclei that are scored and submitted, no two of which share a pixel.
postprocess = [
    dict(type="ScoreThreshold", score_thr=0.5),
    dict(type="MaskNMS", overlap_thr=0.6, measure="ios"),
    dict(type="FillHoles"),
    dict(type="RemoveOverlaps", min_kept_fraction=0.6, give_to="smaller"),
    dict(type="LargestComponent"),
    dict(type="MinArea", min_area_px=20),  # the smallest annotated nucleus of 2,839 has 21 pixels
]
