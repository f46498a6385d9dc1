# The layout that tools/dataset_converters/sartorius.py writes:
#   data/sartorius/{train,test}/*.png
#   data/sartorius/annotations/{all,train_fold0..4,val_fold0..4}.json
#
# Another place, fold or split needs no edit. These three reach every data set and evaluator below:
#   CELLSEG_DATA=/mnt/data  CELLSEG_FOLD=1  python tools/train.py CONFIG
#   CELLSEG_SPLIT=test      python tools/test.py CONFIG CHECKPOINT --out preds.pkl
# (--cfg-options data_root=... would not: the data loaders hold copies.)
data_root = "{{$CELLSEG_DATA:data}}/sartorius/"
fold = "{{$CELLSEG_FOLD:0}}"
# What tools/test.py predicts: 'val', the held-out fold, with its score; or 'test', the images of
# test/, which nobody annotated, without one.
test_split = "{{$CELLSEG_SPLIT:val}}"
if test_split not in ("val", "test"):
    raise ValueError(f"CELLSEG_SPLIT is {test_split!r}, allowed are 'val' and 'test'")

metainfo = dict(
    classes=("astro", "cort", "shsy5y"),
    palette=[(0, 158, 115), (230, 159, 0), (86, 180, 233)],
)

# How stored values become what the network sees; gray files are read as three equal channels.
load_image = dict(
    type="LoadCellImage",
    intensity=dict(
        type="AsStored",
        # The 0.1 and the 99.9 percentile of these images are 35 and 200 on average: images of more bits become alike.
        others=dict(type="Percentiles", low=0.1, high=99.9, levels=(35, 200)),
    ),
)

train_pipeline = [
    load_image,
    # Each mask as a small bitmap in its own box; mmdet's transforms below take them as they are.
    dict(type="LoadRoIAnnotations", with_bbox=True, with_mask=True),
    # Squares with kept ratio: the longer side, 704 pixels, becomes 1333, 1280 or 1024.
    dict(
        type="RandomChoiceResize",
        scales=[(1333, 1333), (1280, 1280), (1024, 1024)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5, direction=["horizontal", "vertical"]),  # 0.25 for each
    dict(type="PackDetInputs"),
]
# No annotations: the metric reads them from its own file.
test_pipeline = [
    load_image,
    dict(type="Resize", scale=(1280, 1280), keep_ratio=True),
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
        data_prefix=dict(img="train/"),
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
        data_prefix=dict(img="train/"),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)

val_evaluator = dict(
    type="CellMetric",  # the competition's mAP
    ann_file=f"{data_root}annotations/val_fold{fold}.json",
)

test_dataloader = val_dataloader
test_evaluator = val_evaluator
if test_split == "test":
    test_dataset = dict(val_dataloader["dataset"], ann_file="", data_prefix=dict(img="test/"))
    test_dataloader = dict(val_dataloader, dataset=test_dataset)
    test_evaluator = []

# From raw predictions to the cells that are scored and submitted, no two of which share a pixel.
# The tools give this list to the metric, so `--cfg-options postprocess.1.score_thr=0.5` reaches it.
postprocess = [
    # A culture is of one cell type: from here on, values per class are those of the image's type.
    dict(type="VoteCellType"),
    # Of 0.4 to 0.8 the best for the CPU config on its held-out fold; another model wants its own.
    dict(type="ScoreThreshold", score_thr=0.6),
    # A part of a cell inside the whole has a small IoU: overlap is measured against the smaller one.
    dict(type="MaskNMS", overlap_thr=0.6, measure="ios"),
    dict(type="FillHoles"),
    # Of a cell found twice little is left once another one has its pixels: drop the rest.
    dict(type="RemoveOverlaps", min_kept_fraction=0.6, give_to="smaller"),
    dict(type="LargestComponent"),
    dict(type="MinArea", min_area_px=30),  # 999 of 1000 annotated cells have more than 33 pixels
]
