# The layout of the 2018 Data Science Bowl, and of what tools/dataset_converters/dsb2018.py writes:
#   data/dsb2018/{stage1_train,stage1_test}/<id>/images/<id>.png
#   data/dsb2018/annotations/{all,train_fold0..4,val_fold0..4}.json
#   data/dsb2018/annotations/stage1_test/all.json       with --root stage1_test --solution stage1_solution.csv
#
# Another place, fold or split needs no edit. These three reach every data set and evaluator below:
#   CELLSEG_DATA=/mnt/data  CELLSEG_FOLD=1  python tools/train.py CONFIG
#   CELLSEG_SPLIT=test      python tools/test.py CONFIG CHECKPOINT --out preds.pkl
data_root = "{{$CELLSEG_DATA:data}}/dsb2018/"
fold = "{{$CELLSEG_FOLD:0}}"
# What tools/test.py predicts and scores: 'val', the held-out fold, or 'test', stage1_test with its solution.
test_split = "{{$CELLSEG_SPLIT:val}}"
if test_split not in ("val", "test"):
    raise ValueError(f"CELLSEG_SPLIT is {test_split!r}, allowed are 'val' and 'test'")

metainfo = dict(classes=("nucleus",), palette=[(86, 180, 233)])

load_stretched = [
    dict(type="LoadImageFromFile"),  # gray as three equal channels, without alpha
    dict(type="StretchContrast"),  # exposures differ by a factor of ten
]
train_pipeline = [
    *load_stretched,
    dict(type="LoadRoIAnnotations", with_bbox=True, with_mask=True),
    # Median sizes are 12 to 48 pixels, by the source of an image: all are seen about twice as large.
    dict(type="RandomScaleCrop", crop_size_hw=(512, 512), scale_range=(1.4, 2.8)),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
# No annotations: the metric reads them from its own file.
test_pipeline = [
    *load_stretched,
    dict(type="Resize", scale_factor=2.0),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "cell_type"),
    ),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type="CellDataset",
        data_root=data_root,
        ann_file=f"annotations/train_fold{fold}.json",
        data_prefix=dict(img="stage1_train/"),
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CellDataset",
        data_root=data_root,
        ann_file=f"annotations/val_fold{fold}.json",
        data_prefix=dict(img="stage1_train/"),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)

val_evaluator = dict(
    type="CellMetric",  # the competition's mAP, in all and for each modality
    ann_file=f"{data_root}annotations/val_fold{fold}.json",
)

test_dataloader = val_dataloader
test_evaluator = val_evaluator
if test_split == "test":
    test_ann_file = "annotations/stage1_test/all.json"
    test_dataset = dict(
        val_dataloader["dataset"], ann_file=test_ann_file, data_prefix=dict(img="stage1_test/")
    )
    test_dataloader = dict(val_dataloader, dataset=test_dataset)
    test_evaluator = dict(val_evaluator, ann_file=f"{data_root}{test_ann_file}")

# From raw predictions to the nuclei that are scored and submitted, no two of which share a pixel.
postprocess = [
    dict(type="ScoreThreshold", score_thr=0.5),
    dict(type="MaskNMS", overlap_thr=0.6, measure="ios"),
    dict(type="FillHoles"),
    dict(type="RemoveOverlaps", min_kept_fraction=0.6, give_to="smaller"),
    dict(type="LargestComponent"),
    dict(type="MinArea", min_area_px=20),  # the smallest annotated nucleus of 2,839 has 21 pixels
]
