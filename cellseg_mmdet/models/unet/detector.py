"""U-Net as a detector of mmdet: what it predicts is what Mask R-CNN predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from cellseg_mmdet.errors import ConfigError
from cellseg_mmdet.fusion import cut_soft_masks
from cellseg_mmdet.masks import EncodedMasks, Runs
from cellseg_mmdet.models.unet.instances import split_cells
from cellseg_mmdet.models.unet.losses import pixel_scores

OUTPUTS = ("foreground", "boundary")
SOFT_MASK_SHAPE = 28, 28  # that of mmdet's mask heads


@MODELS.register_module()
class UNetInstance(BaseDetector):
    """A network that tells for each pixel whether it is of a cell, and of a cell's rim; and the cells made of that.

    All cells are of one class. It is trained on what `PackPixelTargets` packs. Images of any size are mirrored at their
    borders as far as the network looks (the overlap-tile strategy of Ronneberger et al., 2015).

    Args:
        network: config of the network; its ``out_channels`` are the keys of ``losses``.
        losses: for 'foreground', and for 'boundary' where the network is to have it, configs of losses by name.
        test_cfg: ``mask_thr``, ``seed_thr`` and ``min_px`` of `split_cells`.
        data_preprocessor: config of mmdet's ``DetDataPreprocessor``.
        init_cfg: mmengine's.
        soft_masks: keep the probabilities in the boxes as well.

    Attributes:
        keeps_maps: whether `predict` leaves the probabilities, ``pred_maps`` (maps, H, W) at the size of the network's
            input, in place of instances: for whoever merges several views first.

    Raises:
        ConfigError: ``losses`` has another key, or no foreground.
    """

    num_classes = 1  # for mmdet's NumClassCheckHook

    def __init__(
        self,
        network: Mapping[str, Any],
        losses: Mapping[str, Mapping[str, Any]],
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
        soft_masks: bool = False,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if "foreground" not in losses or not losses.keys() <= set(OUTPUTS):
            raise ConfigError(
                f"losses are of 'foreground', and of 'boundary' if wanted; got {list(losses)}"
            )
        self.outputs = [name for name in OUTPUTS if name in losses]
        self.losses = nn.ModuleDict(
            {
                output: nn.ModuleDict(
                    {name: MODELS.build(cfg) for name, cfg in losses[output].items()}
                )
                for output in self.outputs
            }
        )
        self.network = MODELS.build(dict(network, out_channels=len(self.outputs)))
        self.test_cfg = dict(test_cfg or {})
        self.soft_masks = soft_masks
        self.keeps_maps = False

    def extract_feat(self, batch_inputs: Tensor) -> Tensor:
        """Return the logits (B, maps, H, W) of images (B, C, H, W)."""
        height, width = batch_inputs.shape[2:]
        for dim in (2, 3):
            index = _mirrored(
                batch_inputs.shape[dim], *self.network.context(batch_inputs.shape[dim])
            )
            batch_inputs = batch_inputs.index_select(dim, index.to(batch_inputs.device))
        return self.network(batch_inputs)[:, :, :height, :width]

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        return self.extract_feat(batch_inputs)

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_<map>_<name>`` of each loss, and `pixel_scores` of the foreground, which are not optimised.

        Args:
            batch_inputs: (B, C, H, W).
            batch_data_samples: with ``gt_pixels``: ``foreground``, ``boundary`` and ``weight``.
        """
        logits = self.extract_feat(
            batch_inputs
        ).float()  # sums over pixels are too large for half precision
        targets = {
            name: _stack([sample.gt_pixels.get(name) for sample in batch_data_samples], logits)
            for name in (*self.outputs, "weight")
        }
        weight = targets["weight"]
        result = {
            f"loss_{output}_{name}": loss(logits[:, channel], targets[output], weight)
            for channel, output in enumerate(self.outputs)
            for name, loss in self.losses[output].items()
        }
        return result | pixel_scores(logits[:, 0], targets["foreground"], weight)

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
        batch_maps = self.extract_feat(batch_inputs).sigmoid()
        for maps, sample in zip(batch_maps, batch_data_samples, strict=True):
            height, width = sample.img_shape[:2]
            maps = maps[:, :height, :width]
            if self.keeps_maps:
                sample.pred_maps = maps
            else:
                size_hw = sample.ori_shape[:2] if rescale else (height, width)
                sample.pred_instances = self.instances(maps, size_hw)
        return batch_data_samples

    def instances(self, maps: Tensor, size_hw: tuple[int, int]) -> InstanceData:
        """Return the cells of one image: ``bboxes`` (N, 4) xyxy, ``labels``, ``masks`` (`EncodedMasks`), ``scores``.

        The score is the mean probability of foreground in the cell's pixels, and so is ``maskness``, which is what
        post-processing knows it by. Where they are kept there are also ``soft_masks`` (N, rows, columns) uint8: the
        probabilities of foreground times 255, 0 in the pixels of other cells (see `cut_soft_masks`).

        Args:
            maps: (maps, H, W), probabilities.
            size_hw: height and width of the masks.
        """
        if tuple(maps.shape[1:]) != tuple(size_hw):
            maps = F.interpolate(maps[None], size=tuple(size_hw), mode="bilinear")[0]
        probabilities = maps.detach().float().cpu().numpy()
        label_map = split_cells(*probabilities, **self.test_cfg)
        runs = Runs.from_label_map(label_map)
        total = np.bincount(label_map.ravel(), probabilities[0].ravel(), len(runs) + 1)[1:]
        scores = maps.new_tensor(total / runs.areas, dtype=torch.float32)
        found = InstanceData(
            bboxes=maps.new_tensor(runs.boxes, dtype=torch.float32),
            labels=torch.zeros(len(runs), dtype=torch.long, device=maps.device),
            scores=scores,
            masks=EncodedMasks(runs),
            maskness=scores,
        )
        if self.soft_masks:
            soft_masks = cut_soft_masks(probabilities[0], label_map, runs.boxes, SOFT_MASK_SHAPE)
            as_bytes = np.rint(soft_masks * 255).astype(np.uint8)
            found.soft_masks = torch.from_numpy(as_bytes).to(maps.device)
        return found


def _mirrored(length: int, before: int, behind: int) -> Tensor:
    """Return indices that continue a side as mirrors at its first and last pixel do."""
    period = max(2 * (length - 1), 1)
    index = torch.arange(-before, length + behind).remainder(period)
    return index.minimum(period - index)


def _stack(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return maps, each (1, h, w), as (B, H, W) with 0 where an image is smaller than the batch."""
    height, width = like.shape[2:]
    padded = [F.pad(x[0], (0, width - x.shape[2], 0, height - x.shape[1])) for x in maps]
    return torch.stack(padded).to(like)
