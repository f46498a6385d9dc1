# The CPU model on three stages of a whole ResNet-18 with torchvision's ImageNet weights, which are downloaded.
_base_ = ["./mask-rcnn_r18_fpn_cpu_sartorius.py", "../_base_/parts/lite0.py"]

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        stem_channels=64,
        base_channels=64,
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="torchvision://resnet18"),
    ),
    neck=dict(in_channels=[64, 128, 256]),
)
optim_wrapper = dict(paramwise_cfg=_base_.slow_backbone)
