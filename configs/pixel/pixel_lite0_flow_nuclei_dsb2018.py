# The model `nuclei` that ships: nuclei of every size, polarity and stain. Each picture is seen about as large as makes
# its nuclei 30 pixels wide, rare kinds more often; --diameter brings pictures to a fifth more. All 664 images
# (stage1_train.zip), split by tools/models/split.py nuclei; one GPU.
_base_ = "./pixel_lite0_flow_cpu_dsb2018.py"

diameter_px = 30.0  # in the training, times 0.5 to 2
cell_scale = dict(diameter_px=1.2 * diameter_px)  # a little larger, outlines are closer
load_colours = dict(
    _base_.load_alike, intensity=dict(_base_.load_alike["intensity"], gray=False)
)  # stains tell nuclei from cytoplasm by colour

# What is found with these was the best on images of the training (docs/models.md).
thresholds = dict(_base_.thresholds, mask_thr=0.45)
model = dict(code=thresholds)
postprocess = [dict(_base_.postprocess[0], score_thr=0.6), *_base_.postprocess[1:]]

train_pipeline = [
    dict(load_colours, cache_mb=1000),  # all of them
    _base_.load_cells,
    dict(
        type="RandomScaleCrop",
        crop_size_hw=(288, 288),
        diameter_px=diameter_px,
        scale_range=(0.5, 2.0),
        min_area_px=1,
    ),
    _base_.flip_both_ways,
    dict(type="RandomRotate90"),
    dict(type="Invert", prob=0.15),
    dict(type="RandomGrayscale", prob=0.3, keep_channels=True),
    dict(
        type="RandomPhotometry",
        brightness=(-20, 20),
        contrast=(0.6, 1.4),
        gamma=(0.6, 1.6),
        blur_px=(0.0, 1.5),
        noise=(0.0, 12.0),
    ),
    dict(_base_.pack_targets, code=dict(_base_.code, **thresholds)),
]
test_pipeline = [load_colours, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

max_iters = 3200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_iters, T_max=max_iters)]

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    sampler=dict(_delete_=True, type="BalancedInfiniteSampler"),
    dataset=dict(ann_file="annotations/nuclei_train.json", pipeline=train_pipeline),
)
# No folds: one split, by the source of an image.
fold = None
held_out = "annotations/nuclei_held_out.json"
test_splits = dict(val=dict(ann_file=held_out, data_prefix=dict(img="stage1_train/")))
val_dataloader = dict(dataset=dict(ann_file=held_out, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.data_root + held_out)
test_evaluator = val_evaluator
