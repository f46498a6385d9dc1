"""What is found by following the operators is what a change of one pixel changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from cellseg_mmdet.models.backbones import EfficientNetLite, ResidualAttentionUNet, UNet
from cellseg_mmdet.models.pixel import UShapedDecoder
from cellseg_mmdet.tiling.receptive_field import NotLocalError, ReceptiveField, receptive_fields

# As in DESIGN: Tan and Le's B0 without squeeze-and-excitation.
LITE0_SIZES = [7, 19, 67, 339, 851]


class Lite(nn.Module):
    """EfficientNet-Lite0 to stride 8 and a decoder to stride 2, as in a PixelDetector."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(out_indices=(0, 1, 2))
        self.decoder = UShapedDecoder([16, 24, 40], [2, 4, 8], 2, [4, 4, 4], 2)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.decoder(self.backbone(x))
        return F.interpolate(maps, scale_factor=self.scale, mode="bilinear")


def positive(network: nn.Module) -> nn.Module:
    """Let every weight count: no result is 0 because terms cancel out or a ReLU cuts it off."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        draw = torch.rand(parameter.shape, generator=generator) + 0.5
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        parameter.data = draw / fan_in if parameter.dim() > 1 else torch.zeros_like(parameter)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.fill_(1.0)
    network.double()
    network.eval()  # which mmdet's ResNet does not return
    return network


def reach(network: nn.Module, field: ReceptiveField, size: int) -> tuple[int, int]:
    """Return how far before and behind a point a changed pixel reaches it, over all phases of the grid."""
    before, behind = -size, -size
    middle = size // 2 // field.total_stride * field.total_stride
    with torch.no_grad():
        for pixel in range(middle, middle + field.total_stride):
            image = torch.zeros(1, 3, size, size, dtype=torch.float64)
            image[..., pixel, pixel] = 1e-3
            changed = network(image)
            changed = changed[0] if isinstance(changed, tuple | list) else changed
            rows = changed.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0] * float(field.stride)
            before = max(before, int(rows.max()) - pixel)
            behind = max(behind, pixel - int(rows.min()))
    return before, behind


def test_sizes_of_efficientnet_lite() -> None:
    fields = receptive_fields(EfficientNetLite(out_indices=range(5)), torch.zeros(1, 3, 64, 64))
    assert [field.size for field in fields] == LITE0_SIZES
    assert [field.total_stride for field in fields] == [2, 4, 8, 16, 32]


def resnet() -> nn.Module:
    init_default_scope("mmdet")
    size = dict(base_channels=2, stem_channels=2)
    return MODELS.build(dict(type="ResNet", depth=18, out_indices=(1,), **size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "size"),
    [
        (Lite(2.0), 192),
        (UNet(filters=(2, 2, 2)), 128),
        (ResidualAttentionUNet(filters=(2, 2, 2), dropout=0.0), 160),
        (resnet(), 192),
    ],
    ids=["lite", "unet", "attention", "resnet"],
)
def test_no_pixel_beyond_changes_anything(network: nn.Module, size: int) -> None:
    network = positive(network)
    image = torch.zeros(1, 3, size, size, dtype=torch.float64)
    (field,) = receptive_fields(network, image)
    before, behind = reach(network, field, size)
    assert before <= field.before
    assert behind <= field.behind
    if not isinstance(network, ResidualAttentionUNet):  # whose gates multiply what is 0 here
        assert field.before <= before + field.total_stride
        assert field.behind <= behind + field.total_stride


def test_each_layer_by_hand() -> None:
    def field(*layers: nn.Module) -> tuple[int, int, float]:
        (found,) = receptive_fields(nn.Sequential(*layers), torch.zeros(1, 1, 32, 32))
        return found.before, found.behind, float(found.stride)

    assert field(nn.Conv2d(1, 1, 5, padding=2)) == (2, 2, 1)
    assert field(nn.Conv2d(1, 1, 3, padding=2, dilation=2)) == (2, 2, 1)
    assert field(nn.Conv2d(1, 1, 3, padding=1, stride=2)) == (1, 1, 2)
    assert field(nn.MaxPool2d(2)) == (0, 1, 2)
    assert field(nn.AvgPool2d(3, 1, 1)) == (1, 1, 1)
    # A pixel of the doubled picture is of the one pixel before that it lies in.
    assert field(nn.Upsample(scale_factor=2)) == (1, 0, 0.5)
    assert field(nn.ConvTranspose2d(1, 1, 2, 2)) == (1, 0, 0.5)
    # Back at stride 1: of the pair of pixels.
    assert field(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)) == (1, 1, 1)
    # Between the two nearest points of stride 2.
    assert field(nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")) == (2, 2, 1)
    assert field(nn.ReflectionPad2d(1), nn.Conv2d(1, 1, 3)) == (1, 1, 1)
    assert field(nn.Conv2d(1, 1, 3)) == (0, 2, 1)


def test_memory_is_that_of_what_lives_at_once() -> None:
    # In and out of one layer: 4 bytes times 1 + 8 and 8 + 8 channels; the input is not the network's.
    layers = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
    (field,) = receptive_fields(layers, torch.zeros(1, 1, 16, 16))
    assert field.bytes_per_px == 4 * (8 + 8)


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        return (flat @ (flat.transpose(1, 2) @ flat).softmax(2)).view(x.shape)


class Squeeze(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean(dim=(2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.GroupNorm(2, 4), "GroupNorm 1 "),
        (nn.InstanceNorm2d(4), "InstanceNorm2d 1 "),
        (nn.BatchNorm2d(4, track_running_stats=False), "BatchNorm2d 1 "),
        (nn.AdaptiveAvgPool2d(1), "AdaptiveAvgPool2d 1 "),
        (Squeeze(), "Squeeze 1 "),
        (Attention(), "Attention 1 "),
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "Upsample 1 "),
        (nn.Upsample(size=(30, 30)), "Upsample 1 .* not known"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_sees_the_whole_picture_is_named(layer: nn.Module, told: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), layer)
    with pytest.raises(NotLocalError, match=told):
        receptive_fields(network, torch.zeros(1, 3, 16, 16))


def test_a_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    receptive_fields(network, torch.ones(1, 3, 16, 16))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_features_of_one_picture() -> None:
    decoder = UShapedDecoder([4, 4], [2, 4], 1, 4, out_stride=1)
    features = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 4, 4)]
    (field,) = receptive_fields(
        decoder, features, forward=lambda *levels: decoder(levels), strides=[2, 4]
    )
    # 3 x 3 at strides 4, 2 and 1, each enlarged once.
    assert (field.before, field.behind, field.total_stride) == (4 + 2 + 2 + 1 + 1, 4 + 2 + 1, 4)
