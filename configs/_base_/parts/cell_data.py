# What the data sets in ../datasets/ share: how an image and its cells are loaded and packed, views for `--tta`, data
# loaders and metric. A data set inherits this file, and adds folders, classes and pipelines.
# Of 8 bits as stored, of more bits stretched; gray files become three equal channels; no alpha.
load_image = dict(type="LoadCellImage")
# Each mask as a small bitmap in its own box; mmdet's transforms take them as they are.
load_cells = dict(type="LoadRoIAnnotations", with_bbox=True, with_mask=True)
# Each direction with one half, and independently of the other.
flip_both_ways = dict(
    type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]
)
pack_cells = dict(type="PackDetInputs")
# A test pipeline loads no annotations: the metric reads them from its own file.
image_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "cell_type")
pack_image = dict(type="PackDetInputs", meta_keys=image_keys)

# Test-time augmentation, for `--tta`: flips and turns, as a microscope's image has no upright side. Whoever writes a
# test pipeline writes `tta_pipeline = [*test_pipeline[:-1], views]` as well; `tta_model` is the model's.
# A further list of `Resize` gives several scales, and costs as many times as much.
views = dict(
    type="TestTimeAug",
    transforms=[
        [dict(type="RandomFlip", prob=prob) for prob in (0.0, 1.0)],
        [dict(type="RandomRotate90", turns=[num_turns]) for num_turns in range(4)],
        # Without flip and flip_direction: mmdet's cascades fail on them, and homography_matrix says it all.
        [dict(pack_image, meta_keys=(*image_keys, "homography_matrix"))],
    ],
)

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(type="CellDataset", filter_cfg=dict(filter_empty_gt=True, min_size=32)),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CellDataset", test_mode=True),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CellMetric")  # the competitions' mAP
test_evaluator = val_evaluator
