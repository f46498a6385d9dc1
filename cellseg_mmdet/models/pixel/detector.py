"""A backbone, a decoder and a pixel code as a detector of mmdet: what it predicts is what Mask R-CNN predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from cellseg_mmdet.errors import ConfigError, DataError
from cellseg_mmdet.fusion import cut_soft_masks
from cellseg_mmdet.masks import EncodedMasks, Runs
from cellseg_mmdet.models.pixel.losses import GroupLoss, activate, pixel_scores
from cellseg_mmdet.pixel_codes import (
    ChannelGroup,
    Turn,
    build_pixel_code,
    class_probabilities,
)

FOREGROUND = "foreground"  # the group of channels that is the probability of being of a cell
CLASSES = "class"
OWN = "own"  # the name of a loss that is the code's
SOFT_MASK_SHAPE = 28, 28  # that of mmdet's mask heads


@dataclass(frozen=True, eq=False)
class PixelCells:
    """N cells decoded from maps.

    Attributes:
        masks: `Runs` of N instances.
        scores: (N,) float32.
        labels: (N,) int64.
        soft_masks: (N, rows, columns) uint8, or None where they are not kept.
    """

    masks: Runs
    scores: np.ndarray
    labels: np.ndarray
    soft_masks: np.ndarray | None = None

    def to_instances(self, device: torch.device | str = "cpu") -> InstanceData:
        """Return them as mmdet's detectors give theirs; see `PixelDetector.instances`."""
        scores = torch.tensor(self.scores, dtype=torch.float32, device=device)
        found = InstanceData(
            bboxes=torch.tensor(self.masks.boxes, dtype=torch.float32, device=device),
            labels=torch.from_numpy(self.labels).to(device),
            scores=scores,
            masks=EncodedMasks(self.masks),
            maskness=scores,
        )
        if self.soft_masks is not None:
            found.soft_masks = torch.from_numpy(self.soft_masks).to(device)
        return found


@MODELS.register_module()
class PixelDetector(BaseDetector):
    """A network whose maps, one number for each pixel and channel, are cells written in a pixel code.

    The backbone's features become logits in the decoder, logits become maps by the code's activations, and the code
    decodes the maps to cells with scores. It is trained on what `PackPixelTargets` packs, with the same code. Images of
    any size are mirrored beyond their right and lower border up to the next size that the network can halve; a
    backbone with a method ``context`` says how far beyond each border (the overlap-tile strategy of Ronneberger et
    al., 2015).

    Of several classes, each pixel has a probability in maps of their own, which are learned in cells alone; the class
    of a cell has the highest mean.

    Args:
        backbone: config of what gives a list of features, from fine to coarse.
        decoder: config of what makes maps of them (`UShapedDecoder`, `PixelHead`); it is given ``out_channels``.
        code: config of the pixel code, with its thresholds.
        num_classes: of cells.
        losses: for groups of the code that are to be learned by others than the code's own losses: name of the
            group, then of the loss, then config.
        channels_last: keep features pixel by pixel, in which CPUs convolve faster.
        soft_masks: keep the probabilities in the boxes as well.
        dumps_maps: give each sample its maps as well, ``pred_maps`` (maps, H, W) in half precision at the size of
            its masks, for a dump that the code's thresholds are tuned on.
        data_preprocessor: config of mmdet's ``DetDataPreprocessor``.
        init_cfg: mmengine's.

    Attributes:
        code: the pixel code.
        keeps_maps: whether `predict` leaves the maps, ``pred_maps`` (maps, H, W) at the size of the network's
            input, in place of instances: for whoever merges several views first.

    Raises:
        ConfigError: ``losses`` names a group that the code has not.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decoder: Mapping[str, Any],
        code: Mapping[str, Any],
        num_classes: int = 1,
        losses: Mapping[str, Mapping[str, Any]] | None = None,
        channels_last: bool = False,
        soft_masks: bool = False,
        dumps_maps: bool = False,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.code = build_pixel_code(dict(code))
        self.num_classes = num_classes  # for mmdet's NumClassCheckHook as well
        self.groups = list(self.code.groups)
        if num_classes > 1:
            self.groups.append(ChannelGroup(CLASSES, num_classes, "softmax", "ce"))
        names = [group.name for group in self.groups]
        if not set(losses or {}) <= set(names):
            raise ConfigError(
                f"losses are of groups of the code, {', '.join(names)}; got {list(losses or {})}"
            )
        self.losses = nn.ModuleDict(
            {group.name: _losses(group, (losses or {}).get(group.name)) for group in self.groups}
        )
        self.backbone = MODELS.build(backbone)
        out_channels = sum(group.channels for group in self.groups)
        self.decoder = MODELS.build(dict(decoder, out_channels=out_channels))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)
        self.soft_masks = soft_masks
        self.dumps_maps = dumps_maps
        self.keeps_maps = False

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(f"{prefix}network.")]:
            # Of the U-Nets before they were backbones.
            name = key.removeprefix(f"{prefix}network.")
            part = "decoder" if name.startswith("head.") else "backbone"
            state_dict[f"{prefix}{part}.{name}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's features of images (B, C, H, W), whose sides it can halve."""
        return self.backbone(batch_inputs.contiguous(memory_format=self.memory_format))

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Return the logits (B, maps, H, W) of images (B, C, H, W)."""
        size_hw = batch_inputs.shape[2:]
        for dim in (2, 3):
            length = batch_inputs.shape[dim]
            before, behind = self.context(length)
            if before or behind:
                index = torch.from_numpy(mirrored(np.arange(-before, length + behind), length))
                batch_inputs = batch_inputs.index_select(dim, index.to(batch_inputs.device))
        logits = self.logits_of(self.extract_feat(batch_inputs))
        return logits[:, :, : size_hw[0], : size_hw[1]]

    def logits_of(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, maps, H, W), at stride 1, of the backbone's features."""
        logits = self.decoder(features)
        stride = self.decoder.out_stride
        if stride > 1:
            logits = F.interpolate(logits, scale_factor=float(stride), mode="bilinear")
        return logits

    def context(self, length: int) -> tuple[int, int]:
        """Return the mirrored pixels that the network is given before and behind a side of ``length`` pixels."""
        if hasattr(self.backbone, "context"):
            return self.backbone.context(length)
        return 0, -length % self.decoder.total_stride

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_<group>`` or ``loss_<group>_<name>``, and `pixel_scores` of foreground, which no one optimises.

        Args:
            batch_inputs: (B, C, H, W).
            batch_data_samples: with ``gt_pixels``, as `PackPixelTargets` gives them.

        Raises:
            DataError: they are of another code.
        """
        # Sums over pixels are too large for half precision.
        logits = self._forward(batch_inputs).float()
        targets = self._targets(batch_data_samples, logits)
        result = {}
        parts = logits.split([group.channels for group in self.groups], dim=1)
        for group, z in zip(self.groups, parts, strict=True):
            target, weight = targets[group.name]
            weight = weight.expand_as(z)
            for name, loss in self.losses[group.name].items():
                suffix = "" if name == OWN else f"_{name}"
                result[f"loss_{group.name}{suffix}"] = loss(z, target, weight)
            if group.name == FOREGROUND:
                result |= pixel_scores(z, target, weight)
        return result

    def _targets(
        self, samples: Sequence[DetDataSample], logits: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return target (B, channels, H, W) and weight (B, 1, H, W) of each group; what an image lacks weighs 0."""
        found = {sample.gt_pixels.get("code") for sample in samples}
        if found != {type(self.code).__name__}:
            raise DataError(
                f"the targets are of {', '.join(map(str, found))}, the model's code is {type(self.code).__name__}: "
                "give PackPixelTargets in the train_pipeline the same code"
            )
        maps, weights = (
            _stack([sample.gt_pixels.get(name) for sample in samples], logits)
            for name in ("maps", "weights")
        )
        sizes = [group.channels for group in self.code.groups]
        targets = {
            group.name: (target, weight)
            for group, target, weight in zip(
                self.code.groups, maps.split(sizes, 1), weights.split(1, 1), strict=True
            )
        }
        if self.num_classes > 1:
            # 0 where there is no cell, then the classes from 1 on.
            classes = _stack([sample.gt_pixels.get("classes") for sample in samples], logits).long()
            one_hot = F.one_hot(classes[:, 0], self.num_classes + 1).permute(0, 3, 1, 2)[:, 1:]
            targets[CLASSES] = one_hot.to(logits), (classes > 0).to(logits)
        return targets

    @torch.no_grad()
    def predict_maps(self, batch_inputs: Tensor) -> Tensor:
        """Return the maps (B, maps, H, W) of images (B, C, H, W): the code's, then the probability of each class."""
        return activate(self._forward(batch_inputs).float(), self.groups)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = True,
    ) -> Sequence[DetDataSample]:
        """Give each sample its ``pred_instances``; see `instances`.

        Args:
            batch_inputs: (B, C, H, W).
            batch_data_samples: with ``img_shape`` and ``ori_shape``, (height, width) before padding and resizing.
            rescale: at the size of the original image, not of the network's input.
        """
        batch_maps = self.predict_maps(batch_inputs)
        for maps, sample in zip(batch_maps, batch_data_samples, strict=True):
            height, width = sample.img_shape[:2]
            maps = maps[:, :height, :width]
            if self.keeps_maps:
                sample.pred_maps = maps
            else:
                size_hw = sample.ori_shape[:2] if rescale else (height, width)
                self.give_instances(sample, maps, size_hw)
        return batch_data_samples

    def give_instances(self, sample: DetDataSample, maps: Tensor, size_hw: tuple[int, int]) -> None:
        """Give a sample the cells of its maps (maps, h, w), and the maps where ``dumps_maps``."""
        maps = self.resized(maps, size_hw)
        sample.pred_instances = self.instances(maps, size_hw)
        if self.dumps_maps:
            sample.pred_maps = maps.half()

    def turned(self, maps: Tensor, turn: Turn) -> Tensor:
        """Return the maps (maps, H', W') of the turned picture for those of the picture (maps, H, W)."""
        if turn.transposes:
            maps = maps.transpose(-1, -2)
        maps = maps.flip([dim for dim, flips in ((1, turn.flips_y), (2, turn.flips_x)) if flips])
        index, sign = self.code.turned_channels(turn)
        num = self.code.channels
        code_maps = maps[torch.from_numpy(index).to(maps.device)]
        code_maps = code_maps * maps.new_tensor(sign)[:, None, None]
        return torch.cat([code_maps, maps[num:]])

    def resized(self, maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Return maps (maps, h, w) as (maps, H, W), with lengths in the new pixels."""
        old_hw = tuple(maps.shape[1:])
        if old_hw == tuple(size_hw):
            return maps
        maps = F.interpolate(maps[None], size=tuple(size_hw), mode="bilinear")[0]
        scale_yx = size_hw[0] / old_hw[0], size_hw[1] / old_hw[1]
        factors = maps.new_tensor(self.code.resized_channels(scale_yx))
        if (factors == 1).all():
            return maps
        num = self.code.channels
        return torch.cat([maps[:num] * factors[:, None, None], maps[num:]])

    def instances(self, maps: Tensor, size_hw: tuple[int, int]) -> InstanceData:
        """Return the cells of one image: ``bboxes`` (N, 4) xyxy, ``labels``, ``masks`` (`EncodedMasks`), ``scores``.

        The scores are the code's, and so is ``maskness``, which is what post-processing knows it by. Where they are
        kept there are also ``soft_masks`` (N, rows, columns) uint8: the probabilities of foreground times 255, 0 in
        the pixels of other cells (see `cut_soft_masks`).

        Args:
            maps: (maps, h, w), as `predict_maps` gives them.
            size_hw: height and width of the masks.
        """
        maps = self.resized(maps, size_hw)
        found = self.decoded(maps.detach().float().cpu().numpy())
        return found.to_instances(maps.device)

    def decoded(self, maps: np.ndarray, *, soft_masks: bool | None = None) -> PixelCells:
        """Return the cells of maps (maps, H, W) float32 at the size of their masks.

        Args:
            maps: the code's, then the probability of each class.
            soft_masks: whether they are cut as well; by default as the detector has it.
        """
        code_maps, class_maps = np.split(maps, [self.code.channels])
        decoded = self.code.decode(code_maps)
        runs = Runs.from_label_map(decoded.label_map)
        labels = np.zeros(len(runs), dtype=np.int64)
        if len(class_maps):
            labels = class_probabilities(decoded.label_map, class_maps, len(runs)).argmax(axis=1)
        cut = None
        if self.soft_masks if soft_masks is None else soft_masks:
            cut = self.cut_soft_masks(code_maps, decoded.label_map, runs.boxes)
        return PixelCells(runs, decoded.scores, labels, cut)

    def cut_soft_masks(
        self, maps: np.ndarray, label_map: np.ndarray, boxes: np.ndarray
    ) -> np.ndarray:
        """Return the soft masks (N, rows, columns) uint8 of the cells 1 to N of a label map (H, W) with these boxes."""
        parts = cut_soft_masks(
            self._probabilities(maps[: self.code.channels]), label_map, boxes, SOFT_MASK_SHAPE
        )
        return np.rint(parts * 255).astype(np.uint8)

    def _probabilities(self, maps: np.ndarray) -> np.ndarray:
        """Return the probability of foreground (H, W) in [0, 1]; 0 and 1 where the code has no map of it."""
        if any(group.name == FOREGROUND for group in self.code.groups):
            return maps[self.code.channels_of(FOREGROUND)][0]
        return self.code.foreground(maps).astype(np.float32)


def _losses(group: ChannelGroup, configs: Mapping[str, Any] | None) -> nn.ModuleDict:
    """Return the losses of a group by name."""
    if configs is None:
        return nn.ModuleDict({OWN: GroupLoss(group)})
    return nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in configs.items()})


def mirrored(positions: np.ndarray, length: int) -> np.ndarray:
    """Return which pixels of a side stand at positions on and beyond it: it goes on as mirrors at its ends show it.

    Example:
        >>> mirrored(np.arange(-2, 5), 3).tolist()
        [2, 1, 0, 1, 2, 1, 0]
    """
    period = max(2 * (length - 1), 1)
    index = positions % period
    return np.minimum(index, period - index)


def _stack(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return maps, each (C, h, w), as (B, C, H, W) with 0 where an image is smaller than the batch."""
    height, width = like.shape[2:]
    padded = [F.pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in maps]
    return torch.stack(padded).to(like)
