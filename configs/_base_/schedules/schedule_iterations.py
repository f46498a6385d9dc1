# A number of iterations, whatever an epoch is: AdamW, a short warm-up, and one cosine to the end. A leaf that sets
# `max_iters` gives it to the loop and to the cosine; into its data loader it puts `endless`. Goes with
# ../iteration_runtime.py.
max_iters = 2700

train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

warm_up = dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50)
cosine = dict(
    type="CosineAnnealingLR",
    by_epoch=False,
    begin=0,
    end=max_iters,
    T_max=max_iters,
    eta_min_ratio=0.01,
)
param_scheduler = [warm_up, cosine]

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.002, weight_decay=0.01),
    clip_grad=dict(max_norm=10.0, norm_type=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)

endless = dict(
    batch_size=8,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    batch_sampler=None,  # all crops come in one size
)
