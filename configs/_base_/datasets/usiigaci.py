# Adherent cells in phase contrast (Tsai et al., SoftwareX 2019), 16 bits, and what these write:
#   cellseg convert label-images --labels data/usiigaci/labels --images data/usiigaci/images --clean min-area=50
#     largest-component drop-empty --out data/usiigaci/annotations/all.json
#   python tools/models/split.py phase --annotations data/usiigaci/annotations/all.json --images data/usiigaci/images
#     --hold-out set12 set28 set36 set44
_base_ = "../parts/cell_data.py"

data_root = "data/usiigaci/"
metainfo = dict(classes=("cell",), palette=[(86, 180, 233)])

load_stretched = dict(
    type="LoadCellImage", intensity=dict(type="Percentiles", low=0.5, high=99.5, gray=True)
)
train_pipeline = [
    load_stretched,
    _base_.load_cells,
    # Median diameters are 40 and 70 pixels, by the objective.
    dict(type="RandomScaleCrop", crop_size_hw=(512, 512), scale_range=(0.5, 1.2)),
    _base_.flip_both_ways,
    _base_.pack_cells,
]
test_pipeline = [load_stretched, _base_.pack_image]
tta_pipeline = [*test_pipeline[:-1], _base_.views]

phase_contrast = dict(data_root=data_root, data_prefix=dict(img="images/"), metainfo=metainfo)
train_dataloader = dict(
    dataset=dict(phase_contrast, ann_file="annotations/phase_train.json", pipeline=train_pipeline)
)
held_out = "annotations/phase_held_out.json"
val_dataloader = dict(dataset=dict(phase_contrast, ann_file=held_out, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + held_out)
test_evaluator = val_evaluator
