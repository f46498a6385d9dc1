# The seed notebook's: 500 iterations of linear warm-up, steps at 8 and 11, 20 epochs, no clipping.
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=20, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=20, milestones=[8, 11], gamma=0.1),
]

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.005, momentum=0.9, weight_decay=0.0001),
)
# The rate is for 1 GPU x 2 images; `cellseg train --auto-scale-lr` scales it with both.
auto_scale_lr = dict(enable=False, base_batch_size=2)
