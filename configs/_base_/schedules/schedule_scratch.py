# From random weights in few iterations: AdamW, a short warm-up, and one cosine to the end. A leaf that sets
# `max_epochs` gives it to the loop and to the cosine.
max_epochs = 40

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

warm_up = dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50)
cosine = dict(
    type="CosineAnnealingLR",
    by_epoch=True,
    convert_to_iter_based=True,
    begin=0,
    end=max_epochs,
    T_max=max_epochs,
    eta_min_ratio=0.01,
)
param_scheduler = [warm_up, cosine]

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.002, weight_decay=0.01),
    clip_grad=dict(max_norm=10.0, norm_type=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=2)
