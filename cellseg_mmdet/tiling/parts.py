"""A pixel model taken apart, so that each part is tiled by itself.

The deep stages of a backbone look far (851 pixels in EfficientNet-Lite0) and are cheap, the first ones are dear and
look at a few pixels. Tiled as one network, each tile would compute the dear stages of all that the deep ones look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmdet.models.backbones import CSPNeXt
from mmdet.models.backbones.resnet import ResNet
from torch import Tensor, nn

from cellseg_mmdet.errors import UsageError
from cellseg_mmdet.models.backbones import EfficientNetLite
from cellseg_mmdet.models.pixel import PixelDetector
from cellseg_mmdet.models.pixel.losses import activate
from cellseg_mmdet.tiling.receptive_field import NotLocalError, ReceptiveField, receptive_fields


@dataclass(frozen=True)
class Part:
    """A part of a network: some of the results before it become one more.

    Attributes:
        name: in tables.
        run: takes tensors (1, C, h, w), one for each of ``inputs``, and returns one.
        inputs: numbers of results: 0 is the normalised picture, i is what part i gives, from 1 on.
        input_strides: of these.
        channels: of the result.
        field: what the result depends on, in pixels of the picture.
        stride: on which this part may be cut.
    """

    name: str
    run: Callable[[Sequence[Tensor]], Tensor]
    inputs: tuple[int, ...]
    input_strides: tuple[int, ...]
    channels: int
    field: ReceptiveField
    stride: int

    @property
    def out_stride(self) -> int:
        """Pixels of the picture by one step of the result."""
        return int(self.field.stride)


def parts_of(detector: PixelDetector, *, whole: bool = False) -> list[Part]:
    """Return the parts of a pixel model; the last one gives its maps, at stride 1.

    Backbones that are a chain of stages (`EfficientNetLite`, mmdet's ``ResNet`` and ``CSPNeXt``) are taken apart,
    others are one part with the decoder.

    Args:
        detector: in eval mode.
        whole: leave the network in one part.

    Raises:
        NotLocalError: some of it depends on the whole picture.
    """
    stages = None if whole else stages_of(detector.backbone)
    size = _example_size(detector)
    device = next(detector.parameters()).device
    made = [torch.zeros(1, _in_channels(detector), size, size, device=device)]
    strides, parts = [1], []

    def add(name: str, run: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[int]) -> None:
        given = [made[number] for number in inputs]
        of_inputs = tuple(strides[number] for number in inputs)
        try:
            (field,) = receptive_fields(
                detector, given, forward=lambda *tensors: run(tensors), strides=of_inputs
            )
        except NotLocalError as error:
            raise NotLocalError(f"{type(detector).__name__}: {error}", error.culprits) from error
        with torch.no_grad():
            result = run(given)
        made.append(result)
        strides.append(int(field.stride))
        stride = max(field.total_stride, *of_inputs, int(field.stride))
        parts.append(Part(name, run, tuple(inputs), of_inputs, result.shape[1], field, stride))

    if stages is None:
        add("network", partial(_whole, detector), [0])
    else:
        for number, (name, stage) in enumerate(stages):
            add(name, partial(_first, stage, detector.memory_format), [number])
        outputs = [index + 1 for index in detector.backbone.out_indices]
        add("decoder", partial(_maps, detector), outputs)
    if parts[-1].field.stride != 1:
        raise UsageError(f"the maps of this model are at stride {parts[-1].field.stride}, not 1")
    return parts


def stages_of(backbone: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """Return the stages of a backbone of which each sees the one before it alone; None if it is no such chain.

    Stage i gives the feature that the backbone calls i in ``out_indices``.
    """
    if isinstance(backbone, EfficientNetLite):
        first, *others = backbone.stages
        chain = [nn.Sequential(backbone.stem, first), *others]
    elif isinstance(backbone, CSPNeXt) and type(backbone).forward is CSPNeXt.forward:
        chain = [getattr(backbone, name) for name in backbone.layers]
    elif isinstance(backbone, ResNet) and type(backbone).forward is ResNet.forward:
        chain = [getattr(backbone, name) for name in backbone.res_layers]
        stem = (
            [backbone.stem]
            if backbone.deep_stem
            else [backbone.conv1, backbone.norm1, backbone.relu]
        )
        chain[0] = nn.Sequential(*stem, backbone.maxpool, chain[0])
    else:
        return None
    return [(f"stage {number}", stage.eval()) for number, stage in enumerate(chain)]


def _first(stage: nn.Module, memory_format: Any, tensors: Sequence[Tensor]) -> Tensor:
    return stage(tensors[0].contiguous(memory_format=memory_format))


def _maps(detector: PixelDetector, features: Sequence[Tensor]) -> Tensor:
    in_format = [one.contiguous(memory_format=detector.memory_format) for one in features]
    return activate(detector.logits_of(in_format).float(), detector.groups)


def _whole(detector: PixelDetector, tensors: Sequence[Tensor]) -> Tensor:
    logits = detector.logits_of(detector.extract_feat(tensors[0]))
    return activate(logits.float(), detector.groups)


def _in_channels(detector: PixelDetector) -> int:
    mean = getattr(detector.data_preprocessor, "mean", None)
    if mean is not None:
        return len(mean)
    return next(part.in_channels for part in detector.modules() if isinstance(part, nn.Conv2d))


def _example_size(detector: PixelDetector) -> int:
    """Return a side that the network takes, a few times its total stride."""
    length = 256
    before, behind = detector.context(length)
    return before + length + behind
