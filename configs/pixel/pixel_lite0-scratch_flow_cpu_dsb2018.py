# The same from random weights, all at one rate.
_base_ = "./pixel_lite0_flow_cpu_dsb2018.py"

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=None)
