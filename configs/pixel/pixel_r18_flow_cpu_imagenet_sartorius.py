# On a ResNet-18 with torchvision's ImageNet weights, which are downloaded. Its finest stage has stride 4: the decoder's
# last level, of stride 2, has no features of its own.
_base_ = "./pixel_lite0_flow_cpu_sartorius.py"

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=18,
        out_indices=(0, 1, 2, 3),
        norm_eval=False,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"),
    ),
    decoder=dict(in_channels=[64, 128, 256, 512], strides=[4, 8, 16, 32]),
)
