# Nuclei of every size, polarity and stain: each picture is seen about as large as makes its nuclei 25 pixels wide. Made
# for all 664 images (stage1_train.zip), rare kinds more often; --diameter brings pictures to that size.
_base_ = "./pixel_lite0_flow_cpu_dsb2018.py"

diameter_px = 25.0
cell_scale = dict(diameter_px=diameter_px)
load_colours = dict(
    _base_.load_alike, intensity=dict(_base_.load_alike["intensity"], gray=False)
)  # stains tell nuclei from cytoplasm by colour

train_pipeline = [
    load_colours,
    _base_.load_cells,
    dict(
        type="RandomScaleCrop",
        crop_size_hw=(256, 256),
        diameter_px=diameter_px,
        scale_range=(0.5, 1.8),
        min_area_px=1,
    ),
    _base_.flip_both_ways,
    dict(type="RandomRotate90"),
    dict(type="Invert", prob=0.1),
    dict(type="RandomGrayscale", prob=0.3, keep_channels=True),
    dict(
        type="RandomPhotometry",
        brightness=(-20, 20),
        contrast=(0.6, 1.4),
        gamma=(0.6, 1.6),
        blur_px=(0.0, 1.2),
        noise=(0.0, 10.0),
    ),
    dict(_base_.pack_targets, code=_base_.code),
]
test_pipeline = [load_colours, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

max_iters = 4500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [_base_.warm_up, dict(_base_.cosine, end=max_iters, T_max=max_iters)]

train_dataloader = dict(
    sampler=dict(_delete_=True, type="BalancedInfiniteSampler"),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
