"""mmdet's mask heads, handing on each mask as it is in its own box."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, HTCMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg_mmdet.masks.encoded import EncodedMasks
from cellseg_mmdet.models.mask_heads.paste import paste_masks


def set_masks(
    results: InstanceData,
    probabilities: Tensor,
    size_hw: tuple[int, int],
    threshold: float,
    keep_soft: bool,
) -> None:
    """Give the instances of one image, in place, the masks of their ``bboxes``.

    They get ``masks`` (N `EncodedMasks`), ``maskness`` (N,) float32, the mean probability of each mask's foreground
    (0 without one), and with ``keep_soft`` also ``soft_masks`` (N, rows, columns) uint8, the probabilities times 255.
    (Not ``mask_scores``: mmdet's ``CocoMetric`` takes what has that name for the scores of the masks.)

    Args:
        results: with ``bboxes`` (N, 4) xyxy in pixels of the image.
        probabilities: (N, rows, columns) in [0, 1], over the boxes.
        size_hw: height and width of the image in pixels.
        threshold: least probability of foreground, at least 0.
        keep_soft: whether to keep the probabilities.
    """
    results.masks = EncodedMasks(paste_masks(probabilities, results.bboxes, *size_hw, threshold))
    probabilities = probabilities.float()
    foreground = probabilities >= threshold
    total = (probabilities * foreground).sum(dim=(1, 2))
    results.maskness = total / foreground.sum(dim=(1, 2)).clamp(min=1)
    if keep_soft:
        results.soft_masks = (probabilities * 255).round().to(torch.uint8)


class PasteInRoI:
    """Mixin before `FCNMaskHead` or a subclass: predictions are `EncodedMasks`, their pixels those of mmdet on a CPU.

    What comes with the masks is described at `set_masks`. With a negative ``mask_thr_binary``, which asks for
    probabilities of all pixels, mmdet's own tensor is returned and nothing else.

    Args:
        soft_masks: keep the probabilities in the boxes as well.

    Attributes:
        soft_masks: as given.
        pastes: whether there are masks. Without, ``soft_masks`` (N, rows, columns), the probabilities themselves, are
            all that comes: for whoever merges them first.
    """

    class_agnostic: bool

    def __init__(self, *args: Any, soft_masks: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.soft_masks = soft_masks
        self.pastes = True

    def predict_by_feat(
        self,
        mask_preds: tuple[Tensor, ...],
        results_list: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        rcnn_test_cfg: ConfigDict,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> list[InstanceData]:
        """Give the instances of each image their masks.

        Args:
            mask_preds: for each image (N, classes, h, w) logits; probabilities with ``activate_map``.
            results_list: for each image ``bboxes`` (N, 4) xyxy in pixels of the network's input, divided in place with
                ``rescale``, and ``labels`` (N,).
            batch_img_metas: ``ori_shape`` (height, width) and ``scale_factor`` (of the width, of the height).
            rcnn_test_cfg: ``mask_thr_binary``.
            rescale: paste into the original image, not into the network's input.
            activate_map: several heads were merged before.
        """
        threshold = rcnn_test_cfg.mask_thr_binary
        if threshold < 0:
            return super().predict_by_feat(  # type: ignore[misc]
                mask_preds, results_list, batch_img_metas, rcnn_test_cfg, rescale, activate_map
            )
        for preds, results, meta in zip(mask_preds, results_list, batch_img_metas, strict=True):
            probabilities = self._of_labels(preds, results, activate_map)
            height, width = meta["ori_shape"][:2]
            scale_factor = results.bboxes.new_tensor(meta["scale_factor"])
            if rescale:
                results.bboxes /= scale_factor.repeat(2)
            else:
                scale_x, scale_y = scale_factor.tolist()
                height, width = round(height * scale_y), round(width * scale_x)
            if self.pastes:
                set_masks(results, probabilities, (height, width), threshold, self.soft_masks)
            else:
                results.soft_masks = probabilities
        return results_list

    def _of_labels(self, preds: Tensor, results: InstanceData, activate_map: bool) -> Tensor:
        """Return the probabilities (N, h, w) of each instance's own class."""
        # Of all classes, as in mmdet: on a CPU torch computes the last few numbers of a tensor in another way, whose
        # last bit may differ, so that what comes out depends on what else is in the tensor.
        probabilities = preds.to(results.bboxes) if activate_map else preds.sigmoid()
        labels = results.labels
        channel = torch.zeros_like(labels) if self.class_agnostic else labels
        return probabilities[torch.arange(len(labels), device=labels.device), channel]


@MODELS.register_module()
class RoIFCNMaskHead(PasteInRoI, FCNMaskHead):
    """`FCNMaskHead` whose predictions are `EncodedMasks`, for Mask R-CNN and Cascade Mask R-CNN."""


@MODELS.register_module()
class RoIHTCMaskHead(PasteInRoI, HTCMaskHead):
    """`HTCMaskHead` whose predictions are `EncodedMasks`, for Hybrid Task Cascade."""
