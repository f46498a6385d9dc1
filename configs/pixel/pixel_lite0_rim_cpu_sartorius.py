# Cell probability and rims in place of flows.
_base_ = "./pixel_lite0_flow_cpu_sartorius.py"

code = dict(type="RimCode", rim_px=2)
model = dict(code=dict(_delete_=True, **code))

train_pipeline = [*_base_.train_pipeline[:-1], dict(_base_.pack_targets, code=code)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
