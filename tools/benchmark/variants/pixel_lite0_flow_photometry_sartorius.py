# Brightness, contrast, gamma, blur and noise, which the base does without.
_base_ = "cellseg_mmdet::pixel/pixel_lite0_flow_cpu_sartorius.py"

train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(
        type="RandomPhotometry",
        brightness=(-20, 20),
        contrast=(0.7, 1.3),
        gamma=(0.7, 1.4),
        blur_px=(0.0, 1.0),
        noise=(0.0, 6.0),
    ),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
