_base_ = "mmdet::_base_/default_runtime.py"

custom_imports = dict(
    imports=[
        "cellseg_mmdet.datasets",
        "cellseg_mmdet.engine",
        "cellseg_mmdet.models",
    ],
    allow_failed_imports=False,
)

default_hooks = dict(
    # 96 training images are 24 to 48 batches: mmdet's 50 would show one line in one to two epochs.
    logger=dict(interval=10),
    checkpoint=dict(
        type="WholeCheckpointHook", max_keep_ckpts=3, save_best="cell/kaggle_map", rule="greater"
    ),
)
custom_hooks = [
    # A head whose num_classes differs from the data set's classes trains without complaint.
    dict(type="NumClassCheckHook"),
    # With plain BN every process validates, and rank 0 saves, running statistics of its own.
    dict(type="SyncBuffersHook"),
    # A resumed training ends with the weights of one that was not interrupted.
    dict(type="ReproducibleTraining"),
]
