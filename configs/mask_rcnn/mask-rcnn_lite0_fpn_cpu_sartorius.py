# The CPU model on a pretrained EfficientNet-Lite0.
_base_ = ["./mask-rcnn_r18_fpn_cpu_sartorius.py", "../_base_/parts/lite0.py"]

model = dict(
    data_preprocessor=_base_.lite0_preprocessor,
    backbone=dict(_delete_=True, **_base_.lite0_backbone, out_indices=(1, 2, 3)),  # strides 4 to 16
    neck=dict(in_channels=[24, 40, 112]),
)
optim_wrapper = dict(paramwise_cfg=_base_.slow_backbone)
