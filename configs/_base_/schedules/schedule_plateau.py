# Adam; the rate falls when the score of the held-out images stops rising, and training ends when that does not help.
# A leaf writes `custom_hooks = [*_base_.custom_hooks, _base_.early_stopping]`; one that sets `max_epochs` gives it to
# the loop.
max_epochs = 100
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=0.001))
plateau = dict(
    type="ReduceOnPlateauLR",
    monitor="cell/kaggle_map",
    rule="greater",
    factor=0.1,
    patience=5,
    threshold=0.001,
    threshold_rule="abs",
)
param_scheduler = [plateau]
early_stopping = dict(
    type="EarlyStoppingHook",
    monitor="cell/kaggle_map",
    rule="greater",
    min_delta=0.001,  # mmengine's 0.1 is more than a score gains in a dozen epochs
    patience=15,
    strict=True,
)
