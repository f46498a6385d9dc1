# Phase-contrast images of 520 x 704 pixels: pipelines and post-processing of the data sets that have them.
_base_ = "./cell_data.py"

load_image = dict(
    type="LoadCellImage",
    intensity=dict(
        type="AsStored",
        # In Sartorius the 0.1 and the 99.9 percentile of an image are 35 and 200: images of more bits become alike.
        others=dict(type="Percentiles", low=0.1, high=99.9, levels=(35, 200)),
    ),
)
train_pipeline = [
    load_image,
    _base_.load_cells,
    # Squares with kept ratio: the longer side, 704 pixels, becomes 1333, 1280 or 1024.
    dict(
        type="RandomChoiceResize",
        scales=[(1333, 1333), (1280, 1280), (1024, 1024)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5, direction=["horizontal", "vertical"]),  # 0.25 for each
    _base_.pack_cells,
]
test_pipeline = [
    load_image,
    dict(type="Resize", scale=(1280, 1280), keep_ratio=True),
    _base_.pack_image,
]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# From raw predictions to the cells that are scored and submitted, no two of which share a pixel.
# The tools give this list to the metric, so `--cfg-options postprocess.1.score_thr=0.5` reaches it.
postprocess = [
    # A culture is of one cell type: from here on, values per class are those of the image's type.
    dict(type="VoteCellType"),
    # Of 0.4 to 0.8 the best for the CPU config on Sartorius' held-out fold; another model wants its own.
    dict(type="ScoreThreshold", score_thr=0.6),
    # A part of a cell inside the whole has a small IoU: overlap is measured against the smaller one.
    dict(type="MaskNMS", overlap_thr=0.6, measure="ios"),
    dict(type="FillHoles"),
    # Of a cell found twice little is left once another one has its pixels: drop the rest.
    dict(type="RemoveOverlaps", min_kept_fraction=0.6, give_to="smaller"),
    dict(type="LargestComponent"),
    # 999 of 1000 annotated cells of Sartorius have more than 33 pixels.
    dict(type="MinArea", min_area_px=30),
]
